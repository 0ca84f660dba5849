"""How the demo recognizer is made."""
