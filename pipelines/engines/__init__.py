"""One third-party model a file, behind a port of ``ports.py``; heavy libraries are imported inside ``load()``."""
