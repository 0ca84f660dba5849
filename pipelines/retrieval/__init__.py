"""Passages, search, answers and citations."""
