"""What a check of a dataset finds: one line for each fault, with the file it is in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault: `path` is relative to the dataset directory, `what` says in a few words what is wrong."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"
