"""Completions → hidden states: named sites, in-flight and replay capture, pooling."""
