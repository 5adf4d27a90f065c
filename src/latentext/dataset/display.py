"""What a dataset shows of itself in a notebook or a terminal: counts, model, sites, and its first texts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from latentext.dataset.captures import labels as site_labels
from latentext.dataset.stages import StatesStage
from latentext.errors import printable

if TYPE_CHECKING:
    from latentext.dataset.reader import Dataset

_SHOWN_TEXTS = 3
_SHOWN_SITES = 3
_SHOWN_CHARACTERS = 120


def facts(dataset: Dataset) -> dict[str, str]:
    """What there is to say in a few words each.

    Example:
        >>> facts(data)                                                                 # doctest: +SKIP
        {'texts': '450', 'model': 'tiny', 'states': 'final_norm (generated)'}
    """
    found = {"texts": f"{len(dataset):,}", "model": dataset.spec.model.name}
    if dataset.captures:
        found["states"] = "; ".join(map(_what_is_kept, dataset.captures.values()))
    if dataset.score_sets:
        found["scores"] = ", ".join(dataset.score_sets)
    return {name: printable(value) for name, value in found.items()}


def as_text(dataset: Dataset) -> str:
    """One line: the directory and the facts."""
    said = ", ".join(
        f"{value} texts" if name == "texts" else f"{name} {value}" for name, value in facts(dataset).items()
    )
    return f"Dataset({str(dataset.directory)!r}: {said})"


def as_html(dataset: Dataset) -> str:
    """A table of the facts and of the first texts. Prompts and texts are data: nothing of them is markup."""
    rows = [_row(name, value) for name, value in facts(dataset).items()]
    rows += [_row(_shortened(record["prompt"]), _shortened(record["text"])) for record in first_texts(dataset)]
    return f"<table><caption>{escape(str(dataset.directory))}</caption>{''.join(rows)}</table>"


def first_texts(dataset: Dataset) -> list[dict[str, str]]:
    """Prompt and text of the first records."""
    for table in dataset.iter_records(["prompt", "text"]):
        if table.num_rows:
            return list(table.slice(0, _SHOWN_TEXTS).to_pylist())
    return []


def _what_is_kept(capture: StatesStage) -> str:
    """The sites of a capture and its rows: ``layer 8, resid_post.7 (mean)``; of many sites their number and ends."""
    labels = list(site_labels({"": capture}).values())
    sites = (
        " and ".join(labels) if len(labels) <= _SHOWN_SITES else f"{len(labels)} sites from {labels[0]} to {labels[-1]}"
    )
    rows = capture.positions if capture.pool == ("none",) else ", ".join(capture.pool)
    return f"{sites} ({rows})"


def _row(name: str, value: str) -> str:
    return f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"


def _shortened(text: str) -> str:
    """On one line, with an ellipsis where it is longer than a glance."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"
