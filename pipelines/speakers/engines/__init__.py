"""Diarizers."""
