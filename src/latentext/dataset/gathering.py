"""Rows of several mapped files into one array, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Take:
    """Rows of one file, which exist, and the places in an array where they go, which ascend."""

    source: npt.NDArray[Any]
    rows: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]

    def into(self, states: npt.NDArray[Any]) -> None:
        """``states[places] = source[rows]``."""
        source, rows, places = self.source, self.rows, self.places
        # `clip` spares the copy that numpy makes to be able to raise.
        if len(places) and places[-1] - places[0] + 1 == len(places):
            np.take(source, rows, 0, out=states[places[0] : places[-1] + 1], mode="clip")
            return
        # By way of a small buffer, which stays in the processor's cache: all rows would be written to memory twice.
        block = max(1, _BLOCK_BYTES // max(1, source.shape[1] * source.itemsize))
        buffer = np.empty((min(block, len(rows)), source.shape[1]), source.dtype)
        for start in range(0, len(rows), block):
            some = rows[start : start + block]
            states[places[start : start + block]] = np.take(source, some, 0, out=buffer[: len(some)], mode="clip")
