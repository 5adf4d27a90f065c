"""Which rules for prompts a dataset goes on by: those of the version that began it."""

from __future__ import annotations


def begun_by_first(begun_by: str | None) -> bool:
    """Whether version 0.1.0 made the first shard, by the version that a dataset names; None is a new dataset.

    Example:
        >>> begun_by_first("0.1.0"), begun_by_first("0.2.0"), begun_by_first(None)
        (True, False, False)
    """
    return begun_by is not None and begun_by.startswith("0.1.")
