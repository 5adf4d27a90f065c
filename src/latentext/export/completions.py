"""Completions as files for analysis: one tidy Parquet file, or the folders and NDJSON files of the original comparison.

Both take one dataset or a folder of them, as a sweep makes it. Rows are written as they are read, a shard at a time;
only ids and sources are held, for the splits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from latentext.dataset.completions import completion_datasets, completion_rows, is_completion
from latentext.dataset.outputs import (
    OutputFolderKind,
    OutputKind,
    begins,
    checked_file,
    has_columns,
    output_file,
    output_folder,
)
from latentext.dataset.reader import Dataset
from latentext.dataset.tables import open_writer
from latentext.errors import DatasetError
from latentext.export.completion_splits import completion_splits
from latentext.spec import SplitSpec
from latentext.storage import filesystem
from latentext.storage.atomic import atomic_file
from latentext.word_count import count_words

TIDY = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("human", pa.string()),
        ("corpus", pa.string()),
        ("model", pa.string()),
        ("engine", pa.string()),
        ("prompt", pa.int64()),
        ("temperature", pa.float64()),
        ("sample", pa.int64()),
        ("accepted", pa.bool_()),
        ("completion", pa.string()),
        ("finish_reason", pa.string()),
        ("cut", pa.bool_()),
        ("tokens", pa.int64()),
        ("words", pa.int64()),
        ("human_words", pa.int64()),
        ("seed", pa.int64()),
        ("split", pa.string()),
    ]
)
"""Columns of the tidy file; `words` are spaCy-blank tokens, `tokens` the model's own, the end token included."""

_ENGINES = {"vllm": "vLLM", "transformers": "HF"}
_ROWS_AT_ONCE = 1024


TIDY_FILE = OutputKind("tidy completions", has_columns(TIDY.names))


def _others(folder: Path) -> list[str]:
    """What a folder holds beside NDJSON files of the original comparison, in its folders."""
    inner = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
    others = [str(path.relative_to(folder)) for path in inner if not _is_ours(path, path.relative_to(folder).parts)]
    return others if inner else [path.name for path in folder.iterdir()]


def _is_ours(path: Path, places: Sequence[str]) -> bool:
    named = len(places) > 3 and places[1] in _PARTS and _FILE.fullmatch(places[-1]) is not None
    return named and path.is_file() and not path.is_symlink() and (path.stat().st_size == 0 or _is_completion(path))


_is_completion = begins(r'\{"id": ')
_PARTS = ("FULL_DATA", "SUBSET_DATA")
_FILE = re.compile(r".+_prompt_.+_temp.+\.ndjson")
ORIGINAL = OutputFolderKind("the original comparison's files", _others)


def export_tidy(directory: Path, output: Path, *, overwrite: bool = False) -> int:
    """Write one row a text, every sample that was drawn among them; returns how many.

    The split is that of the datasets' specs (shares and seed), by source and id (`completion_splits`).

    Raises:
        SpecError: the file exists already, and `overwrite` is off.
        DatasetError: there is no dataset of completions, they are divided in different ways, or the output lies in a
            dataset or is a file of something else.
    """
    datasets = completion_datasets(directory)
    checked_file(output, TIDY_FILE, overwrite=overwrite)  # Before all rows are read.
    splits = completion_splits((row for data in datasets for row in completion_rows(data)), _split(datasets))
    rows = 0
    batch: list[dict[str, Any]] = []
    with output_file(output, TIDY_FILE, overwrite=overwrite) as file, open_writer(file, TIDY) as writer:
        for row in _tidy_rows(datasets, splits):
            batch.append(row)
            if len(batch) == _ROWS_AT_ONCE:
                writer.write_table(_table(batch))
                rows, batch = rows + len(batch), []
        writer.write_table(_table(batch))
    return rows + len(batch)


def export_original_layout(directory: Path, output: Path, *, overwrite: bool = False) -> list[Path]:
    """Write ``{output}/{vLLM|HF}/{FULL_DATA|SUBSET_DATA}/{model}/{corpus}_prompt_{n}_temp{t}.ndjson``.

    Each row has `id`, `annotations` where there are any, `prompt_{n}` (all that the model read), `{model}_completions`,
    `sample_params` and `doc_length` (spaCy-blank tokens of the completion). A request whose samples are all illegal has
    no completion and no row.

    Returns:
        the files, in order. They appear together or not at all.

    Raises:
        SpecError: the folder exists already, and `overwrite` is off.
        DatasetError: there is no dataset of completions, two would write the same file, or the output is, holds or lies
            in a dataset or holds other files.
    """
    written: dict[Path, Path] = {}
    datasets = completion_datasets(directory)
    with output_folder(output, ORIGINAL, overwrite=overwrite) as folder:
        for dataset in datasets:
            for temperature in dataset.spec.decoding.temperatures or (dataset.spec.decoding.temperature,):
                place = _original_place(dataset, temperature)
                if place in written:
                    what = f"{dataset.directory} and {written[place]} would both be written to {output / place}"
                    raise DatasetError(what, remedy="export them to different folders")
                filesystem.make_folder((folder / place).parent)
                with atomic_file(folder / place) as file:
                    for line in _original_lines(dataset, temperature):
                        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                written[place] = dataset.directory
    return [output / place for place in written]


def _split(datasets: Sequence[Dataset]) -> SplitSpec:
    splits = {(d.spec.split.val, d.spec.split.test, d.spec.split.seed) for d in datasets}
    if len(splits) > 1:
        raise DatasetError("the datasets have different splits", remedy="export them one by one")
    val, test, seed = splits.pop()
    return SplitSpec(by="source", val=val, test=test, seed=seed)


def _tidy_rows(datasets: Sequence[Dataset], splits: dict[tuple[str, str], str]) -> Iterator[dict[str, Any]]:
    human_words: dict[str, int] = {}
    for dataset in datasets:
        for row in completion_rows(dataset):
            human = row["human"]
            if human is not None and human not in human_words:
                (human_words[human],) = count_words([human])
            name = (str(row["corpus"]), str(row["id"]))
            yield {**row, "id": name[1], "human_words": human_words.get(human), "split": splits[name]}


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{name: row[name] for name in TIDY.names} for row in rows], schema=TIDY)


def _original_place(dataset: Dataset, temperature: float) -> Path:
    row = next(completion_rows(dataset), None)
    if row is None:
        raise DatasetError("has no texts yet", where=str(dataset.directory), remedy="run it first")
    engine = _ENGINES.get(dataset.spec.model.engine, dataset.spec.model.engine)
    part = "FULL_DATA" if dataset.spec.prompts.limit is None else "SUBSET_DATA"
    return Path(engine, part, row["model"], f"{row['corpus']}_prompt_{row['prompt']}_temp{temperature:g}.ndjson")


def _original_lines(dataset: Dataset, temperature: float) -> Iterator[dict[str, Any]]:
    params = str(_sample_params(dataset, temperature))
    for row in completion_rows(dataset):
        if row["temperature"] != temperature or not is_completion(dataset, row):
            continue
        words = row["words"]
        if words is None:
            (words,) = count_words([row["completion"]])
        yield {
            "id": row["id"],
            **({} if row["annotations"] is None else {"annotations": row["annotations"]}),
            f"prompt_{row['prompt']}": row["prompt_text"],
            f"{row['model']}_completions": row["completion"],
            "sample_params": params,
            "doc_length": words,
        }


def _sample_params(dataset: Dataset, temperature: float) -> dict[str, Any]:
    """The options as the original wrote them, a Python dictionary as text; its length penalty acts on beams alone."""
    decoding = dataset.spec.decoding
    return {
        "presence_penalty": _plain(decoding.presence_penalty),
        "frequency_penalty": _plain(decoding.frequency_penalty),
        "max_tokens": decoding.max_new_tokens,
        "temperature": _plain(temperature),
        "top_k": decoding.top_k,
        "top_p": _plain(decoding.top_p),
        "repetition_penalty": _plain(decoding.repetition_penalty),
        "length_penalty": 1,
    }


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number
