"""What others read: arrays, tables, completions and the formats of other projects, written from a finished dataset."""
