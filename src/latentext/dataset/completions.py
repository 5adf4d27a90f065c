"""Completions beside what a person wrote: one tidy row a text, over one dataset or a folder of them.

A dataset is one of completions when its spec names a corpus of them or limits of length, so that a variable holds the
human text. Corpus, prompt number and model come from the spec, all else from records and from the scores of length.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.dataset.checks import check_stages
from latentext.dataset.reader import Dataset, open_dataset
from latentext.errors import DatasetError
from latentext.finish_reasons import is_whole
from latentext.sentences import completion_of

HUMAN = "human_completions"
_DEPTH = 4
_RECORD_COLUMNS = ("index", "sample", "variables", "prompt", "text", "token_ids", "finish_reason", "usage")


def completion_datasets(directory: Path) -> list[Dataset]:
    """The datasets of completions at or below a directory, in the order of their paths.

    Raises:
        DatasetError: there is none, or none has a text.
    """
    # Without any below, the directory itself is opened, for the error that says what it is not.
    found = [open_dataset(folder) for folder in _dataset_folders(directory, _DEPTH) or [directory]]
    datasets = [dataset for dataset in found if human_variable(dataset) is not None]
    if datasets and not any(dataset.shard_numbers for dataset in datasets):
        datasets[0].refuse_without_texts()
    if not datasets:
        what = "holds no dataset of completions beside human texts"
        raise DatasetError(what, where=str(directory), remedy="make one with latentext complete")
    return datasets


def human_variable(dataset: Dataset) -> str | None:
    """The variable that holds what a person wrote; None where the spec speaks of none."""
    spec = dataset.spec
    if spec.length is not None:
        return spec.length.human
    return HUMAN if spec.prompts.task is not None else None


def completion_rows(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """One row a text, in the order of the records.

    `completion` is the text under the policy of length (`latentext.sentences.completion_of`), `text` as it was written;
    `cut` says whether the text was cut at the limit of tokens, by its finish reason, as everywhere else. `words` and
    `accepted` are null where lengths were not measured. `prompt` is the number of the task prompt, `prompt_text` all
    that the model read.
    """
    human, spec = human_variable(dataset), dataset.spec
    facts = {
        "corpus": spec.prompts.corpus or spec.name,
        "model": dataset.model_label,
        "engine": spec.model.engine,
        "prompt": spec.prompts.task,
        "seed": spec.seed,
    }
    for number in dataset.shard_numbers:
        lengths = _lengths(dataset, number)
        for record in dataset.shard_records(number, _RECORD_COLUMNS).to_pylist():
            variables = json.loads(record["variables"])
            yield {
                "id": variables.get("id", record["index"]),
                "source": variables.get("source"),
                "human": variables.get(human or HUMAN),
                "annotations": variables.get("annotations"),
                **facts,
                "temperature": variables.get("temperature", spec.decoding.temperature),
                "sample": record["sample"],
                "completion": completion_of(record["text"], record["finish_reason"], spec.length),
                "text": record["text"],
                "finish_reason": record["finish_reason"],
                "cut": not is_whole(record["finish_reason"]),
                # A server gives no ids, and null where it counted nothing.
                "tokens": len(record["token_ids"]) or record["usage"]["completion_tokens"],
                "index": record["index"],
                "prompt_text": record["prompt"],
                **lengths.get((record["index"], record["sample"]), {"words": None, "accepted": None}),
            }


def is_completion(dataset: Dataset, row: Mapping[str, Any]) -> bool:
    """Whether a row is its request's completion: where samples were drawn until one was accepted, that one alone."""
    return not dataset.spec.retries or bool(row["accepted"])


def _lengths(dataset: Dataset, number: int) -> dict[tuple[int, int], dict[str, Any]]:
    stages = list(check_stages(dataset.directory, dataset.spec)) if dataset.spec.check is None else []
    folders = {stage.split("/")[1] for stage in stages}
    name = next((name for name, named in dataset.score_sets.items() if folders & set(named)), None)
    if name is None:
        return {}
    return {
        (row["index"], row["sample"]): {
            "words": None if row["words"] is None else int(row["words"]),
            "accepted": None if row["accepted"] is None else row["accepted"] == 1,
        }
        for row in dataset.shard_scores(name, number).to_pylist()
    }


def _dataset_folders(directory: Path, depth: int) -> list[Path]:
    if (directory / layout.SPEC).is_file():
        return [directory]
    if depth == 0 or not directory.is_dir():
        return []
    inner = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [folder for path in inner if ".old-" not in path.name for folder in _dataset_folders(path, depth - 1)]
