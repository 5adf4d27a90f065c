"""What a dataset directory holds and who is at work on it, without loading a model or opening a data file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from latentext.dataset import layout
from latentext.dataset.documents import read_json
from latentext.dataset.reader import open as open_dataset
from latentext.dataset.stages import ScoresStage, StatesStage, read_stage
from latentext.engines.openai.journal import read_spend
from latentext.engines.openai.spend import Spend
from latentext.plan.note import PlanNote
from latentext.run.lease import Holder, holders
from latentext.run.waiting import waiting
from latentext.run.workspace import JOURNAL, PLAN


@dataclass(frozen=True)
class StageStatus:
    """How many shards of a stage have a receipt."""

    stage: str
    description: str
    shards_done: int
    shards_planned: int


@dataclass(frozen=True)
class Status:
    """The state of a directory."""

    directory: Path
    requests: int
    stages: tuple[StageStatus, ...]
    holders: dict[str, Holder]
    counts: dict[str, int]
    spend: Spend | None = None
    waiting: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.directory}: {self.requests:,} requests"]
        lines += [f"{s.shards_done:>7,} of {s.shards_planned:,} shards  {s.description}" for s in self.stages]
        if self.counts:
            names = ("planned", "accepted", "rejected", "failed", "pending")
            lines.append("texts when a run last ended: " + ", ".join(f"{self.counts[n]:,} {n}" for n in names))
        if self.spend is not None and (self.spend.answers or self.spend.uncertain_tokens):
            lines.append(f"spent so far: {self.spend} ({self.spend.answers:,} answers of a server)")
        lines += () if self.holders else self.waiting
        lines += [f"at work: {name} by {holder}" for name, holder in self.holders.items()]
        if not self.holders:
            done = all(s.shards_done >= s.shards_planned for s in self.stages)
            lines.append("complete" if done and self.stages else "no run is at work; run the same spec again to go on")
        return "\n".join(lines)


def status(directory: str | Path) -> Status:
    """Read the status of a dataset directory.

    Raises:
        DatasetError: there is no dataset.
    """
    dataset = open_dataset(directory)
    root = dataset.directory
    note = PlanNote.read(root / PLAN)
    shards = 0 if note is None else sum(-(-(stop - start) // note.shard_size) for start, stop in note.segments)
    stages = tuple(
        StageStatus(stage, _describe(root, stage), len(layout.list_shards(root, stage)), shards)
        for stage in layout.list_stages(root)
    )
    metadata = root / layout.METADATA
    counts = read_json(metadata).get("counts", {})
    return Status(root, 0 if note is None else note.planned, stages, holders(root), counts, _spend(root), waiting(root))


def _describe(root: Path, stage: str) -> str:
    if stage.startswith("states/"):
        capture = read_stage(root, stage, StatesStage)
        rows = capture.positions if not capture.pooled else f"pooled: {', '.join(capture.pool)}"
        return f"states of {', '.join(capture.sites)} ({rows}, {capture.how})"
    if stage.startswith("records/"):
        samples = layout.samples_of(stage)
        return "texts" if len(samples) == 1 else f"texts, samples {samples.start} … {samples.stop - 1}"
    if stage.startswith("scores/"):
        return f"scores: {read_stage(root, stage, ScoresStage).reward}"
    return stage


def _spend(root: Path) -> Spend | None:
    """What requests to a server cost: by the journal, or, where it lies elsewhere, by what the last run said."""
    if (spend := read_spend(root / JOURNAL)) is not None:
        return spend
    said = read_json(root / "status.json").get("spend")
    return None if said is None else Spend.of_facts(said)
