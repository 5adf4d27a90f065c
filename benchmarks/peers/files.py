"""States of a batch on the disk: one npy file a site and one for the tokens, all synced as our own files are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from peers.serving import Text


def save_rows(folder: Path, texts: list[list[int]], sites: list[np.ndarray]) -> None:
    """Write the rows of all texts, text after text.

    Args:
        texts: generated token ids.
        sites: one array [rows, width] a site; a text has as many rows as tokens.
    """
    arrays = {f"site{number}": rows for number, rows in enumerate(sites)}
    arrays["token_ids"] = np.concatenate([np.asarray(ids, np.int32) for ids in texts])
    arrays["lengths"] = np.asarray([len(ids) for ids in texts], np.int32)
    for name, array in arrays.items():
        with (folder / f"{name}.npy").open("wb") as file:
            np.save(file, array)
            file.flush()
            os.fsync(file.fileno())


def read_rows(folder: Path, count: int) -> list[Text]:
    """The first texts with their states, read back."""
    lengths = np.load(folder / "lengths.npy")
    ids = np.load(folder / "token_ids.npy")
    paths = sorted(folder.glob("site*.npy"), key=lambda path: int(path.stem.removeprefix("site")))
    sites = [np.load(path, mmap_mode="r") for path in paths]
    ends = np.cumsum(lengths)
    return [
        (ids[end - length : end].tolist(), np.stack([site[end - length : end] for site in sites]))
        for end, length in zip(ends[:count].tolist(), lengths[:count].tolist(), strict=True)
    ]
