"""How the demo diarizer is made."""
