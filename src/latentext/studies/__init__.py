"""What researchers come for: one room a study, each on the ordinary run. Studies never import each other."""
