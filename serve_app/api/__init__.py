"""The HTTP application: one resource a file. It knows ports and settings, and nothing of Ray."""
