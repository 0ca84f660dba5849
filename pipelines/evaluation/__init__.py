"""Transcripts measured against what was really said."""
