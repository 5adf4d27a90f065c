"""Records as a pandas DataFrame: the shape in which texts are looked at and plotted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from latentext.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd


def as_frame(records: pa.Table) -> pd.DataFrame:
    """All columns of `records` with each variable as a column of its own, messages as lists, usage as two columns;
    the counts of verification are columns where texts were expected.

    A variable named like another column is called ``variables.<name>``; one that a row lacks is None there.
    """
    frame = records.flatten().to_pandas()
    frame = frame.rename(columns=lambda name: name.removeprefix("usage."))
    if not records["verification"].is_valid().to_numpy().any():
        frame = frame.drop(columns=[name for name in frame if name.startswith("verification.")])
    frame["messages"] = frame["messages"].map(json.loads)
    rows = [json.loads(text) for text in frame["variables"]]
    position = frame.columns.get_loc("variables")
    frame = frame.drop(columns="variables")
    for offset, name in enumerate(dict.fromkeys(name for row in rows for name in row)):
        column = name if name not in frame.columns else f"variables.{name}"
        frame.insert(position + offset, column, [row.get(name) for row in rows])
    return frame


def with_covariates(frame: pd.DataFrame, covariates: pd.DataFrame, by: str, *, drop_missing: bool) -> pd.DataFrame:
    """`frame` with the columns of `covariates`, whose index holds the values of the column `by`; rows stay in order.

    Raises:
        DatasetError: a text without covariates, covariates without a text, an id that stands twice, or a column that
            both have.
    """
    if by not in frame:
        raise DatasetError(f"texts have no column {by!r}", remedy="name the variable that holds the id: by=...")
    ids = frame[by]
    problems = {
        "twice among the texts": ids[ids.duplicated()],
        "twice among the covariates": covariates.index[covariates.index.duplicated()],
        "only among the texts": ids[~ids.isin(covariates.index)],
    }
    if not drop_missing:
        problems["only among the covariates"] = covariates.index[~covariates.index.isin(ids)]
    for where, found in problems.items():
        if len(found):
            some = ", ".join(repr(value) for value in list(found)[:3])
            remedy = "covariates.index must hold the ids; drop_missing=True leaves out texts that failed"
            raise DatasetError(f"{len(found)} ids stand {where} ({some})", remedy=remedy)
    if both := [column for column in covariates if column in frame]:
        raise DatasetError(f"texts and covariates both have a column {both[0]!r}", remedy="rename it")
    joined = covariates.loc[ids]
    joined.index = frame.index
    return frame.join(joined)
