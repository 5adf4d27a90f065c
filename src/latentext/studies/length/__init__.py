"""How many tokens are still to come: the data and functions of length prediction."""
