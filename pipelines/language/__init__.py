"""Text skills: templates, prompts, generation, extraction."""
