"""Records as a pandas DataFrame: the shape in which texts are looked at and plotted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd


def as_frame(records: pa.Table) -> pd.DataFrame:
    """All columns of `records` with each variable as a column of its own, messages as lists, usage as two columns.

    A variable named like another column is called ``variables.<name>``; one that a row lacks is None there.
    """
    frame = records.flatten().to_pandas()
    frame = frame.rename(columns=lambda name: name.removeprefix("usage."))
    frame["messages"] = frame["messages"].map(json.loads)
    rows = [json.loads(text) for text in frame["variables"]]
    position = frame.columns.get_loc("variables")
    frame = frame.drop(columns="variables")
    for offset, name in enumerate(dict.fromkeys(name for row in rows for name in row)):
        column = name if name not in frame.columns else f"variables.{name}"
        frame.insert(position + offset, column, [row.get(name) for row in rows])
    return frame
