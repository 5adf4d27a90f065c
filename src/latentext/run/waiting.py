"""What an unfinished dataset waits for, what of it is safe, and why the last run ended."""

from __future__ import annotations

from pathlib import Path

from latentext.dataset.documents import read_json
from latentext.engines.server.journal import read_waiting
from latentext.errors import DatasetError
from latentext.run.workspace import JOURNAL

_STATUS = "status.json"


def waiting(root: Path, *, at_work: bool) -> tuple[str, ...]:
    """A line for each thing that is waited for; none where nothing is.

    Args:
        at_work: a run is; then what its requests wait for is said, else why the last one stopped.
    """
    lines = []
    if count := read_waiting(root / JOURNAL):
        lines.append(f"{answers_waiting(count)} in the journal until their shard is written; they are not paid again")
    try:
        status = read_json(root / _STATUS)
    except DatasetError:  # Nothing depends on this file.
        return tuple(lines)
    said = status.get("waits") if at_work else status.get("error")
    if isinstance(said, str) and said:
        lines.append(said if at_work else f"the last run stopped: {said}")
    return tuple(lines)


def answers_waiting(count: int) -> str:
    """Such as ``18 answers of the server wait``."""
    return "1 answer of the server waits" if count == 1 else f"{count:,} answers of the server wait"


def what_is_safe(journal: Path, texts: int, planned: int, *, goes_on: bool) -> str:
    """What a run that a server stopped leaves behind, and how to go on, in one line.

    Args:
        texts: how many of the `planned` ones are written.
        goes_on: the same command does, once the server is well or the cap is raised.
    """
    count = read_waiting(journal)
    kept = f"kept: {texts:,} of {planned:,} texts"
    if count:
        kept += f"; {answers_waiting(count)} in the journal and {'is' if count == 1 else 'are'} not paid again"
    return f"{kept}. The same command goes on" if goes_on else kept
