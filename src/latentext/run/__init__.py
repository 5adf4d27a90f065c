"""Stages over shards: what turns a spec into a dataset directory, and continues one that was interrupted."""
