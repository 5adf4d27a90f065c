"""What ``capture`` and ``score`` added: their last lines, in place of counts of texts that were there before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from latentext.cli.run import print_place
from latentext.cli.wording import counted

if TYPE_CHECKING:
    from latentext.run.added import AddedStage
    from latentext.run.runner import RunSummary


def print_added(summary: RunSummary, *, nothing: str) -> None:
    """Say which states and scores a command added, and where.

    Args:
        nothing: what to say if all was there before.
    """
    lines = [line_of(added) for added in summary.added if added.texts or added.rows]
    for line in lines or [nothing]:
        typer.echo(line)
    print_place(summary)


def line_of(added: AddedStage) -> str:
    """One stage's line.

    Example:
        >>> from latentext.run.added import AddedStage
        >>> about = {"sites": ["embed", "final_norm"], "positions": "generated", "pool": ["none"]}
        >>> line_of(AddedStage("states/replay-0", 120, 5400, about))
        'states of 120 texts added: 5,400 rows (positions generated) at embed, final_norm'
        >>> line_of(AddedStage("scores/length-12345678", 120, 120, {"reward": "length"}))
        '120 texts scored: length'
    """
    if added.stage.startswith("scores/"):
        return f"{counted(added.texts, 'text')} scored: {added.about.get('reward', added.stage)}"
    pooled = [pool for pool in added.about.get("pool", ()) if pool != "none"]
    which = f"pooled: {', '.join(pooled)}" if pooled else f"positions {added.about.get('positions', '')}"
    sites = ", ".join(added.about.get("sites", ()))
    return f"states of {counted(added.texts, 'text')} added: {counted(added.rows, 'row')} ({which}) at {sites}"
