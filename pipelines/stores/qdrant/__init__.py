"""Passages in Qdrant: a server over HTTP, or its engine (Qdrant Edge) in this process over a folder with one owner."""
