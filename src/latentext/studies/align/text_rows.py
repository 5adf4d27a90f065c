"""From weights to texts: the drawn ones as {prompt, generated}, or all candidates of a prompt with their weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from latentext.dataset.outputs import OutputKind, begins, output_file
from latentext.dataset.reader import Dataset
from latentext.rewards.candidate import candidates_of
from latentext.sentences import SENTENCE_END
from latentext.studies.align.text_bank import TextBank
from latentext.studies.align.weights import Weights

Trim = Literal["sentence"] | None
"""``sentence`` cuts a text that was ended by the length limit back to its last full sentence."""

CANDIDATES = OutputKind("candidates", begins(r'\{"index": \d+, "key": "[^"]*", "prompt": '), (".jsonl", ".ndjson"))
_COLUMNS = ("index", "sample", "prompt", "messages", "text")


def chosen_texts(bank: TextBank, chosen: NDArray[np.int64], *, trim: Trim = None) -> list[dict[str, str]]:
    """The drawn texts, prompt by prompt, draw by draw.

    Args:
        chosen: samples, int [prompts, k], as `latentext.studies.align.draw` gives them.

    Returns:
        {prompt, generated} each; `generated` begins with the prompt.
    """
    wanted = {index: samples.tolist() for index, samples in zip(bank.indices, chosen, strict=True)}
    places = {(index, sample) for index, samples in wanted.items() for sample in samples}
    found = dict(_texts(bank.dataset, places))
    return [_row(*found[index, sample], trim) for index, samples in wanted.items() for sample in samples]


def candidate_rows(
    bank: TextBank, weights: Weights, chosen: NDArray[np.int64], palette: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    """The whole bank, a row a prompt: every candidate with ids, log-probabilities, rewards and weight, and which were
    kept."""
    place_of = {index: place for place, index in enumerate(bank.indices)}
    linear, columns = weights.weights, ("index", "sample", "key", "prompt", "text", "token_ids", "logprobs")
    for table in bank.dataset.iter_records(list(columns)):
        by_prompt: dict[int, list[dict[str, Any]]] = {}
        for record in table.to_pylist():
            if record["index"] in place_of and record["sample"] < bank.bank.samples:
                by_prompt.setdefault(record["index"], []).append(record)
        for index, records in by_prompt.items():
            place = place_of[index]
            yield {
                "index": index,
                "key": records[0]["key"],
                "prompt": records[0]["prompt"],
                "lam": dict(palette),
                "kept": chosen[place].tolist(),
                "candidates": [
                    {name: record[name] for name in ("sample", "text", "token_ids", "logprobs")}
                    | {"rewards": dict(zip(bank.bank.names, rewards, strict=True)), "weight": weight}
                    for record, rewards, weight in zip(
                        records, bank.bank.rewards[place].tolist(), linear[place].tolist(), strict=True
                    )
                ],
            }


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]], *, overwrite: bool = False) -> None:
    """Write candidates as JSON lines, in a file that appears complete or not at all.

    Raises:
        SpecError: the file exists already.
        DatasetError: the place lies in a dataset, or the file there holds something else.
    """
    with output_file(path, CANDIDATES, overwrite=overwrite) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")


def own_texts(dataset: Dataset, score: str, *, trim: Trim = None) -> list[dict[str, Any]]:
    """The model's own texts, sample 0 of every prompt, with its score by the reward `score` as `perplexity`."""
    scores = dataset.scores(score)
    first = scores.filter(pc.equal(scores["sample"], 0))
    by_index = dict(zip(first["index"].to_pylist(), first.column(2).to_pylist(), strict=True))
    places = {(index, 0) for index in by_index}
    return [{**_row(*texts, trim), "perplexity": by_index[index]} for (index, _), texts in _texts(dataset, places)]


def _texts(dataset: Dataset, places: set[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], tuple[str, str]]]:
    """Of each wanted (request, sample), in order: the prompt, and the prompt with its continuation."""
    for table in dataset.iter_records(list(_COLUMNS)):
        here = zip(table["index"].to_pylist(), table["sample"].to_pylist(), strict=True)
        records = table.filter(pa.array([place in places for place in here], pa.bool_())).to_pylist()
        for record, candidate in zip(records, candidates_of(records), strict=True):
            yield (record["index"], record["sample"]), (candidate.prompt, candidate.full_text)


def _row(prompt: str, generated: str, trim: Trim) -> dict[str, str]:
    return {"prompt": prompt, "generated": trim_to_sentence(prompt, generated) if trim else generated}


def trim_to_sentence(prompt: str, generated: str) -> str:
    """Cut `generated` (the prompt and its continuation) back to the end of its last full sentence.

    A sentence ends with ., !, ? or … (and closing quotes or brackets) before white space or the end of the text. A
    comma at the very end counts as a full stop, and becomes one. Where no sentence ends in the continuation, the prompt
    alone is left. Abbreviations ("Dr. ") pass for sentence ends.

    Example:
        >>> trim_to_sentence("Hello", "Hello there. How are")
        'Hello there.'
        >>> trim_to_sentence("A", "A,")
        'A.'
        >>> trim_to_sentence("What now?", "What now? I do not")
        'What now?'
    """
    text = generated.rstrip()
    if text.endswith(","):
        text = text[:-1] + "."
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    if not ends or ends[-1] <= len(prompt):
        return prompt
    return text[: ends[-1]]
