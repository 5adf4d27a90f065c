"""The engine that runs a model in this process with transformers: its own decode loop, with states read in flight."""
