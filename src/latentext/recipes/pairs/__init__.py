"""Pairs from a model: rounds of requests through any engine, what they will cost, and a rehearsal free of charge."""
