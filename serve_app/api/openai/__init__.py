"""The routes that the openai client calls."""
