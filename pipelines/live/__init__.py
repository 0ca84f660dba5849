"""Live sessions: what is said while it is being said."""
