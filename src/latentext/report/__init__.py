"""Pictures of a dataset and a page that holds them. Everything shown is computed from the dataset's files."""
