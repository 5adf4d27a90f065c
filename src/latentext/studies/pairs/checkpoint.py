"""The folder of a run of proposals: what a killed run continues from, and what the same command finds done.

    proposal.json    what the run asks for: task, seed, tokenizers; another request of the same folder is refused
    requests.jsonl   the chats of all rounds so far, one a line; a round is added when all before it are answered
    answers/         an ordinary dataset made of these chats, with its journal: here are the receipts and what was paid
    output.json      the hashes of the pairs file that is being written and of the one before: what may be replaced

Only the first and the third hold anything that cannot be made again from the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.dataset.outputs import refuse_in_dataset
from latentext.dataset.records import read_records
from latentext.dataset.sealed import read_sealed, write_sealed
from latentext.dataset.views import believed_receipts
from latentext.errors import DatasetError, SpecError
from latentext.request import Message
from latentext.storage.atomic import atomic_file, is_temporary, sweep
from latentext.storage.filesystem import make_folder
from latentext.studies.pairs import PairTask, PairTokenizer
from latentext.studies.pairs.proposing import ProposalAnswer

_VERSION = 1
NOT_A_FAILURE = ("content-filter", "refused", "no-text")
"""Reasons of engines that mean: the model was asked, and refused."""


@dataclass(frozen=True)
class Checkpoint:
    """The folder and its parts.

    Example:
        >>> Checkpoint(Path("dataset.checkpoint")).answers.name
        'answers'
    """

    folder: Path

    @property
    def requests(self) -> Path:
        """The file of chats that the dataset of answers is made of."""
        return self.folder / "requests.jsonl"

    @property
    def answers(self) -> Path:
        """The dataset directory."""
        return self.folder / "answers"

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Take the folder for a run with these settings, or go on with one that has the same.

        Raises:
            SpecError: it is a file, or holds a run of another request; what differs is named.
            DatasetError: its note is damaged.
        """
        note = self.folder / "proposal.json"
        if self.folder.exists() and not self.folder.is_dir():
            raise SpecError("is a file", where=str(self.folder), remedy="a checkpoint is a folder: name another")
        refuse_in_dataset(self.folder)
        sweep(self.folder, below=False)
        if not note.exists():
            if self.folder.is_dir() and any(not is_temporary(path.name) for path in self.folder.iterdir()):
                raise SpecError("holds other files", where=str(self.folder), remedy="name another --checkpoint")
            make_folder(self.folder)
            write_sealed(note, {"format_version": _VERSION, **settings})
            return
        before = read_sealed(note, remedy="name another --checkpoint")
        if changed := [name for name, value in settings.items() if before.get(name) != json.loads(json.dumps(value))]:
            raise SpecError(
                f"was begun with another {' and '.join(changed)}",
                where=str(self.folder),
                remedy="undo the change, or name another --checkpoint and --output",
                heading="Resuming",
            )

    def rounds(self) -> list[range]:
        """The requests of each round so far, by their numbers."""
        rounds, start = [], 0
        for _, lines in groupby(self._lines(), key=lambda line: line["round"]):
            stop = start + sum(1 for _ in lines)
            rounds.append(range(start, stop))
            start = stop
        return rounds

    def add_round(self, number: int, chats: Sequence[Sequence[Message]]) -> None:
        """Write the requests of the next round behind the others; all or none are there afterwards."""
        with atomic_file(self.requests) as file:
            if self.requests.exists():
                file.write(self.requests.read_bytes())
            for chat in chats:
                line = {"round": number, "messages": [dict(message) for message in chat]}
                file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")

    def read_answers(self, requests: range, *, all_of_them: bool = True) -> list[ProposalAnswer]:
        """The answers to these requests, in their order.

        Args:
            all_of_them: otherwise those that are there, of a round that was not finished.

        Raises:
            DatasetError: a file is damaged, or there is no answer to one of them.
        """
        found = dict(self._answers(requests))
        if all_of_them and (missing := [number for number in requests if number not in found]):
            what = f"there is no answer to request {missing[0]}"
            raise DatasetError(what, where=str(self.answers), remedy="give the same command again")
        return [found[number] for number in requests if number in found]

    def may_replace(self, output: Path) -> bool:
        """Whether a file is what this run wrote last."""
        note = self.folder / "output.json"
        # Version 0.1.0 emptied the note before it wrote the next one, and may have been killed in between.
        if not output.is_file() or not note.is_file() or not note.stat().st_size:
            return False
        noted = read_sealed(note, remedy="remove it, and pass --force")
        return _sha256(output) in (noted["output_sha256"], noted.get("before_sha256"))

    def note_output(self, output: Path, sha256: str) -> None:
        """Remember what is about to be written, so that a kill at any moment leaves a file that is known again."""
        before = _sha256(output) if self.may_replace(output) else None
        note = {"format_version": _VERSION, "output_sha256": sha256, "before_sha256": before}
        write_sealed(self.folder / "output.json", note)

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.requests.exists():
            return
        with self.requests.open(encoding="utf-8") as file:
            yield from map(json.loads, file)

    def _answers(self, requests: range) -> Iterator[tuple[int, ProposalAnswer]]:
        stage = layout.records_folder(range(1))
        for receipt in believed_receipts(self.answers, stage):
            if receipt.stop <= requests.start or receipt.start >= requests.stop:
                continue
            table = read_records(
                [self.answers / stage / layout.table_name(receipt.shard)], ["index", "text", "finish_reason"]
            )
            for row in table.to_pylist():
                yield row["index"], ProposalAnswer(row["text"], row["finish_reason"])
            for failure in receipt.failures:
                refused = failure.reason in NOT_A_FAILURE
                yield failure.index, ProposalAnswer(None, "refusal" if refused else failure.reason, failed=not refused)


def settings_of(task: PairTask, tokenizers: Sequence[PairTokenizer], seed: int, pairs_each: int) -> dict[str, Any]:
    """What decides the requests of a run, beside the answers."""
    return {
        "task": task.model_dump(mode="json"),
        "seed": seed,
        "pairs per request": pairs_each,
        "tokenizers": {
            tokenizer.name: hashlib.sha256(tokenizer.backend.to_str().encode()).hexdigest() for tokenizer in tokenizers
        },
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
