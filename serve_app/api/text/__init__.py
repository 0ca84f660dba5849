"""Text skills and templates."""
