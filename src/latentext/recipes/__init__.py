"""Ready-made runs: the specs of the folder `recipes/`, found by name, and the functions that belong to them."""
