"""Bytes to windows of speech."""
