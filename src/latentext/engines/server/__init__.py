"""Engines whose model is behind a server that speaks OpenAI's protocol: errors, prices, journal, budget, pace."""
