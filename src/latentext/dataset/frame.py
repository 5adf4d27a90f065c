"""Records as a pandas DataFrame: the shape in which texts are looked at and plotted."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING

import pyarrow as pa

from latentext.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd


def as_frame(records: pa.Table) -> pd.DataFrame:
    """All columns of `records` with each variable as a column of its own, messages as lists, usage as two columns;
    the counts of verification are columns where texts were expected.

    A variable named like another column is called ``variables.<name>``, with as many ``variables.`` as it takes to be
    no other variable's name; one that a row lacks is None there.
    """
    import pandas as pd

    frame = records.flatten().to_pandas()
    frame = frame.rename(columns=lambda name: name.removeprefix("usage."))
    if not records["verification"].is_valid().to_numpy().any():
        frame = frame.drop(columns=[name for name in frame if name.startswith("verification.")])
    frame["messages"] = frame["messages"].map(json.loads)
    rows = [json.loads(text) for text in frame["variables"]]
    position = frame.columns.get_loc("variables")
    frame = frame.drop(columns="variables")
    names = dict.fromkeys(name for row in rows for name in row)
    called = column_names(names, set(frame.columns))
    variables = pd.DataFrame({called[name]: pd.Series([row.get(name) for row in rows]) for name in names}, frame.index)
    return pd.concat([frame.iloc[:, :position], variables, frame.iloc[:, position:]], axis=1)


def column_names(names: Collection[str], taken: set[str], prefix: str = "variables.") -> dict[str, str]:
    """What the column of each of these is called, where `taken` are the others.

    Example:
        >>> column_names(["stars", "X", "input.X"], {"X", "P"}, "input.")
        {'stars': 'stars', 'X': 'input.input.X', 'input.X': 'input.X'}
    """
    called = {}
    for name in names:
        column = name
        while column in taken or (column != name and column in names):
            column = f"{prefix}{column}"
        called[name] = column
    return called


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
