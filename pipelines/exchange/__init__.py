"""Transcripts and collections as other tools have them: written, read, and brought back."""
