"""Requests → completions: one module (or folder) an engine, and the sampling that they share."""
