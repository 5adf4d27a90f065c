"""What a dataset directory holds and who is at work on it, without loading a model or opening a data file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from latentext.dataset import layout
from latentext.dataset.captures import sites_in_words
from latentext.dataset.documents import read_json
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.stages import ScoresStage, StatesStage, read_stage
from latentext.engines.server.journal import read_spend
from latentext.engines.server.spend import Spend
from latentext.errors import DatasetError
from latentext.plan.note import PlanNote
from latentext.run.asked import absent_stages, texts_in_words
from latentext.run.waiting import waiting
from latentext.run.workspace import JOURNAL, PLAN
from latentext.storage.lease import Holder, holders

STATUS = "status.json"
_FINISHED = ("accepted", "rejected", "failed")
_COUNTS = ("planned", *_FINISHED, "pending")
_FAR = 1 << 62


@dataclass(frozen=True)
class StageStatus:
    """How many shards of a stage have a receipt.

    Attributes:
        needed: whether the dataset is unfinished without the shards that are missing. Scores of a reward are not where
            another version of it scored everything: those of an edited file stay, and nobody completes them.
    """

    stage: str
    description: str
    shards_done: int
    shards_planned: int
    needed: bool = True

    @property
    def done(self) -> bool:
        return self.shards_done >= self.shards_planned


@dataclass(frozen=True)
class RunStatus:
    """The state of a directory; `planned` is whether its plan is there."""

    directory: Path
    requests: int
    stages: tuple[StageStatus, ...]
    holders: dict[str, Holder]
    counts: dict[str, int]
    spend: Spend | None = None
    waiting: tuple[str, ...] = ()
    planned: bool = True

    def __str__(self) -> str:
        lines = [f"{self.directory}: {self.requests:,} requests"]
        lines += [f"{s.shards_done:>7,} of {s.shards_planned:,} shards  {s.description}" for s in self.stages]
        if self.counts:
            lines.append(f"when a run last ended: {_in_words(self.counts)}")
        if self.spend is not None and (self.spend.answers or self.spend.uncertain_tokens):
            lines.append(f"spent so far: {self.spend} ({self.spend.answers:,} answers of a server)")
        lines += self.waiting
        lines += [f"at work: {name} by {holder}" for name, holder in self.holders.items()]
        if not self.holders:
            lines.append("complete" if self.complete else "no run is at work; run the same spec again to go on")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values. Costs are US dollars; `uncertain_…` is what may have been billed beside them."""
        spend = self.spend
        return {
            "directory": str(self.directory),
            "requests": self.requests,
            "complete": self.complete,
            "counts": self.counts,
            "stages": [asdict(stage) for stage in self.stages],
            "at_work": {name: str(holder) for name, holder in self.holders.items()},
            "waiting": list(self.waiting),
            "spend": None if spend is None else {**asdict(spend), "usd": spend.picodollars / 1e12},
        }

    @property
    def complete(self) -> bool:
        """Whether all that the spec asks for is there."""
        return self.planned and bool(self.stages) and all(stage.done or not stage.needed for stage in self.stages)


def status(directory: str | Path) -> RunStatus:
    """Read the status of a dataset directory.

    Raises:
        DatasetError: there is no dataset, or a file that says what it holds is damaged.
    """
    dataset = open_dataset(directory)
    root = dataset.directory
    note = PlanNote.read(root / PLAN)
    shards = 0 if note is None else sum(-(-(stop - start) // note.shard_size) for start, stop in note.segments)
    present = [
        StageStatus(stage, _describe(root, stage), len(layout.list_shards(root, stage)), shards)
        for stage in layout.list_stages(root)
        if not _is_empty(root / stage)
    ]
    absent = [StageStatus("", words, 0, shards) for words in absent_stages(root, dataset.spec)]
    at_work = holders(root)
    return RunStatus(
        root,
        0 if note is None else note.planned,
        (*_with_versions(root, present), *absent),
        at_work,
        _counts(dataset),
        _spend(root),
        waiting(root, at_work=bool(at_work)),
        planned=note is not None,
    )


def _is_empty(folder: Path) -> bool:
    """Whether nothing is there: a run was killed before the folder said what it would hold."""
    return next(folder.iterdir(), None) is None


def _with_versions(root: Path, stages: Sequence[StageStatus]) -> Iterator[StageStatus]:
    """The stages, scores of which another version is whole marked as not needed."""
    whole: dict[tuple[Any, ...], str] = {}
    for stage in stages:
        if stage.stage.startswith("scores/") and stage.done:
            whole[_reward_of(root, stage.stage)] = stage.stage
    for stage in stages:
        other = stage.stage.startswith("scores/") and not stage.done and _reward_of(root, stage.stage) in whole
        words = f"{stage.description} (another version of it is whole)" if other else stage.description
        yield replace(stage, description=words, needed=not other)


def _reward_of(root: Path, stage: str) -> tuple[Any, ...]:
    declared = read_stage(root, stage, ScoresStage)
    return declared.reward, declared.columns, declared.samples


def _describe(root: Path, stage: str) -> str:
    if stage.startswith("states/"):
        capture = read_stage(root, stage, StatesStage)
        rows = capture.positions if not capture.pooled else f"pooled: {', '.join(capture.pool)}"
        return f"states of {sites_in_words(capture)} ({rows}, {capture.how})"
    if stage.startswith("records/"):
        samples = layout.samples_of(stage)
        return texts_in_words(samples)
    if stage.startswith("scores/"):
        return f"scores: {read_stage(root, stage, ScoresStage).reward}"
    return stage


def _counts(dataset: Dataset) -> dict[str, int]:
    """The counts of texts as the last run wrote them; empty before."""
    counts = dataset.metadata.get("counts", {})
    if counts and not (isinstance(counts, dict) and all(_is_count(counts.get(name)) for name in _COUNTS)):
        path = dataset.directory / layout.METADATA
        raise DatasetError("damaged: its counts are no counts", where=str(path), remedy="run the same command again")
    return {name: counts[name] for name in _COUNTS} if counts else {}


def _in_words(counts: Mapping[str, int]) -> str:
    """Such as ``48 of 50 texts finished (45 accepted, 3 rejected), 2 pending``."""
    finished = [name for name in _FINISHED if counts[name]]
    parts = ", ".join(f"{counts[name]:,} {name}" for name in finished)
    line = f"{sum(counts[name] for name in finished):,} of {counts['planned']:,} texts finished"
    line += f" ({parts})" if finished and finished != ["accepted"] else ""
    return line + (f", {counts['pending']:,} pending" if counts["pending"] else "")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _FAR


def _spend(root: Path) -> Spend | None:
    """What requests to a server cost: by the journal, or, where it lies elsewhere, by what the last run said.

    Nothing depends on status.json: what is no sum of spending there counts as nothing said.
    """
    if (spend := read_spend(root / JOURNAL)) is not None:
        return spend
    try:
        said = read_json(root / STATUS).get("spend")
        return Spend.of_facts(said) if isinstance(said, dict) and all(map(_is_sum, said, said.values())) else None
    except (DatasetError, KeyError, TypeError, ValueError, ArithmeticError):
        return None


def _is_sum(name: str, value: object) -> bool:
    """Whether this is a sum of tokens or answers, or of money where the name says so."""
    kinds = (int, float) if "cost" in name else (int,)
    return value is None or (isinstance(value, kinds) and 0 <= value < _FAR)
