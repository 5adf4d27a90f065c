"""The report of a dataset: every picture that it allows, as PNG files and as one page.

The dataset is read as it stands, also while a run goes on; the report is a view, and made again it says what the files
say then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow.compute as pc

from latentext.dataset.captures import labels
from latentext.dataset.completions import completion_datasets, human_variable
from latentext.dataset.reader import Dataset
from latentext.dataset.stages import StatesStage
from latentext.phases import Phase, phase
from latentext.report.completions import completion_sections
from latentext.report.components import principal_components
from latentext.report.correctness import deviation_bins
from latentext.report.lengths import length_by_count, remaining_by_split
from latentext.report.page import Table, render_page
from latentext.report.picture import Picture, Skipped
from latentext.report.probe_scores import (
    PREDICTED,
    SCORES,
    Predictions,
    predicted_against_actual,
    probe_scores,
    result_files,
)
from latentext.report.states import Known, norm_by_layer, state_against_remaining, state_histograms
from latentext.report.tokens import Decode, as_id, coloured_sequence, frequent_tokens
from latentext.report.writing import report_folder, write_report
from latentext.states.layer_names import listed

Drawer = Callable[[], Picture | Skipped]

FOLDER = "report"


@dataclass(frozen=True)
class Report:
    """What was made: the page, the pictures in it, and those that the dataset does not allow."""

    page: Path
    pictures: Sequence[Picture]
    skipped: Sequence[Skipped]


def make_report(
    dataset: Dataset,
    output: Path | None = None,
    *,
    decode: Decode = as_id,
    predictions: Sequence[Predictions] = (),
    seed: int = 0,
) -> Report:
    """Draw everything and write ``index.html`` and a PNG file for each picture.

    All states are read once, a bounded number of rows at a time; scatter plots are of rows drawn by `seed`.

    Args:
        output: a folder; left out, it is ``report`` in the dataset's directory.
        decode: the text of a token id; left out, ids are shown.
        predictions: of saved probes, where there are any (`latentext probe` saves them).

    Raises:
        DatasetError: a file of the dataset is damaged, or the report cannot be written.

    Example:
        >>> report = make_report(latentext.open_dataset("data/same_prompt"))                    # doctest: +SKIP
        >>> [picture.reason for picture in report.skipped]                              # doctest: +SKIP
        ['takes two sites, and 1 was captured', 'no probe was saved: latentext probe DIR makes them']
    """
    views = dataset.directory / FOLDER
    folder = output or views
    report_folder(folder, views=views)
    drawers = _drawers(dataset, decode, predictions, seed)
    with phase("drawing pictures", len(drawers)) as drawing:
        drawn = [_drawn(draw, drawing) for draw in drawers]
    pictures: Sequence[Picture] = [picture for picture in drawn if isinstance(picture, Picture)]
    skipped = [picture for picture in drawn if isinstance(picture, Skipped)]
    tables: list[Table] = []
    if human_variable(dataset) is not None:
        tables, compared = completion_sections([dataset])
        pictures = [*compared, *pictures]
    page = render_page(dataset.spec.name, dataset.spec.description, facts(dataset), pictures, skipped, tables)
    return Report(write_report(folder, page, pictures, views=views), pictures, skipped)


def _drawn(draw: Drawer, drawing: Phase) -> Picture | Skipped:
    picture = draw()
    drawing.moved()
    return picture


def make_completions_report(directory: Path, output: Path | None = None) -> Report:
    """The page of a folder of datasets of completions: people and models side by side; arguments as `make_report`.

    Raises:
        DatasetError: there is no such dataset in it.
    """
    folder = output or directory / FOLDER
    report_folder(folder)
    datasets = completion_datasets(directory)
    tables, pictures = completion_sections(datasets)
    models = dict.fromkeys(dataset.model_label for dataset in datasets)
    known = {
        "datasets": f"{len(datasets):,}",
        "models": ", ".join(models),
        "corpora": ", ".join(dict.fromkeys(dataset.spec.prompts.corpus or dataset.spec.name for dataset in datasets)),
        "texts": f"{sum(dataset.records(['index']).num_rows for dataset in datasets):,}",
    }
    page = render_page(f"Completions: {directory.resolve().name}", "", known, pictures, (), tables)
    return Report(write_report(folder, page, pictures), pictures, ())


def facts(dataset: Dataset) -> dict[str, str]:
    """What the top of the page says, counted from the records."""
    texts = prompt = generated = uncounted = 0
    reasons: Counter[str] = Counter()
    for table in dataset.iter_records(["usage", "finish_reason"]):
        usage = table["usage"].combine_chunks()
        texts += table.num_rows
        prompt += pc.sum(usage.field("prompt_tokens")).as_py() or 0
        generated += pc.sum(usage.field("completion_tokens")).as_py() or 0
        uncounted += usage.field("completion_tokens").null_count
        reasons.update(table["finish_reason"].to_pylist())
    captured = (
        f"{listed(list(labels({name: stage}).values()))} ({_rows(stage)}, {stage.dtype})"
        for name, stage in dataset.captures.items()
    )
    return {
        "model": dataset.model_label,
        "texts": f"{texts:,} of {_planned(dataset)} planned",
        "tokens": f"{prompt:,} of prompts, {generated:,} generated"
        + (f"; {uncounted:,} texts were not counted by the server" if uncounted else ""),
        "how texts ended": ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
        or "no text yet",
        "states": " and ".join(captured) or "none",
        "split": f"by {dataset.spec.split.by}, seed {dataset.spec.split.seed}",
    }


def _rows(stage: StatesStage) -> str:
    return f"one row per text: {', '.join(stage.pool)}" if stage.pooled else stage.positions


def _planned(dataset: Dataset) -> str:
    """Texts that were planned; where samples are drawn until one is accepted, at most so many."""
    most = f"{dataset.plan_count * dataset.spec.decoding.n:,}"
    return f"at most {most}" if dataset.spec.retries else most


def _drawers(dataset: Dataset, decode: Decode, predictions: Sequence[Predictions], seed: int) -> list[Drawer]:
    """The pictures in the order of the page."""
    known: Known = {}
    return [
        partial(remaining_by_split, dataset),
        partial(length_by_count, dataset),
        partial(deviation_bins, dataset),
        partial(frequent_tokens, dataset, decode),
        partial(coloured_sequence, dataset, decode),
        partial(state_histograms, dataset, known),
        partial(state_against_remaining, dataset, known, seed),
        partial(norm_by_layer, dataset, known),
        partial(principal_components, dataset, seed),
        *_probe_drawers(dataset, predictions),
    ]


def _probe_drawers(dataset: Dataset, predictions: Sequence[Predictions]) -> list[Drawer]:
    files = result_files(dataset)
    if not files:
        return [partial(SCORES.skipped, "no probe was saved: latentext probe DIR makes them")]
    drawers: list[Drawer] = [partial(probe_scores, dataset, path) for path in files]
    if not predictions:
        return [*drawers, partial(PREDICTED.skipped, "no predictions of a saved probe of a length were given")]
    return [*drawers, *(partial(predicted_against_actual, found) for found in predictions)]
