"""How the sample recordings are made."""
