"""One deployment a file: load, health, and the verbs of one port. Plain classes, which ``build.py`` deploys."""
