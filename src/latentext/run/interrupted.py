"""What an interrupted run leaves: what is kept, what is lost, and whether smaller shards would have kept more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from latentext.dataset import layout
from latentext.run.shard_size import is_anything_made, size_of_plan
from latentext.run.tally import Tally
from latentext.run.work import Work, texts_of
from latentext.run.worker import Stage
from latentext.run.workspace import Workspace


@dataclass(frozen=True)
class Interruption:
    """How far a stage was when a run was interrupted.

    Attributes:
        stage: such as "texts" or "scores length".
        kept, planned: texts of the stage whose shards are finished, and all of them.
        lost: texts that were finished and whose shards were not.
        lost_tokens: tokens of texts under way.
        shard_size: requests per shard.
        answers_kept: the texts are answers of a server, which are kept one by one and never asked for twice.
        nothing_made: no shard of any stage is finished, so that the shard size may still change.
    """

    directory: Path
    stage: str
    kept: int
    planned: int
    lost: int
    lost_tokens: int
    shard_size: int
    answers_kept: bool = False
    nothing_made: bool = False

    @property
    def smaller_shards(self) -> int | None:
        """A shard size that would keep about an eighth of the work at a time; None where it can no longer change, or
        would keep nothing more."""
        if not self.nothing_made or self.answers_kept:
            return None
        size = 2 * max(1, min(self.shard_size, self.planned) // 16)  # Even, so that no pair is cut in two.
        return size if size < min(self.shard_size, self.planned) else None

    def __str__(self) -> str:
        what = self.stage if self.stage == "texts" else f"texts ({self.stage})"
        said = f"Kept in {self.directory}: {self.kept:,} of {self.planned:,} {what}"
        if self.answers_kept and self.stage == "texts":
            return f"{said}, and {self.lost:,} answers, which are not asked for again" if self.lost else said
        lost = [f"{self.lost:,} finished {'text' if self.lost == 1 else 'texts'}"] if self.lost else []
        lost += [f"{self.lost_tokens:,} tokens of unfinished texts"] if self.lost_tokens else []
        if not lost:
            return said
        why = f"only whole shards are kept, here of {self.shard_size:,} requests"
        return f"{said}. Lost: {' and '.join(lost)}; {why}"


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM while a run was at work; `left` says what it leaves."""

    def __init__(self, left: Interruption):
        super().__init__(str(left))
        self.left = left


def left_of(workspace: Workspace, work: Work, tally: Tally | None) -> Interruption:
    """What is left of a stage that was interrupted.

    Args:
        tally: its counts in this process; None, or those of another stage, where it had not begun.
    """
    planned = texts_of(work, workspace.shards)
    kept = planned - texts_of(work, [shard for shard in workspace.shards if work.done(shard) is None])
    size, remote = workspace.provenance.shard_size, workspace.spec.model.remote
    return _left(workspace.root, work.description, kept, planned, tally, size, answers_kept=remote)


def left_by_workers(root: Path, stage: Stage, tally: Tally | None) -> Interruption:
    """The same of a stage that workers computed, once all have ended."""
    there = set(layout.list_shards(root, stage.name))
    missing = sum(texts for shard, texts in zip(stage.waiting, stage.texts, strict=True) if shard not in there)
    return _left(root, stage.description, stage.total - missing, stage.total, tally, size_of_plan(root) or 1)


def _left(
    root: Path, stage: str, kept: int, planned: int, tally: Tally | None, size: int, *, answers_kept: bool = False
) -> Interruption:
    counted = tally if tally is not None and tally.description == stage else None
    lost = 0 if counted is None else max(0, counted.done - kept)
    lost_tokens = 0 if counted is None else counted.under_way
    nothing_made = not is_anything_made(root)
    return Interruption(root, stage, kept, planned, lost, lost_tokens, size, answers_kept, nothing_made)
