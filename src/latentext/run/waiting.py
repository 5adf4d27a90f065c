"""What an unfinished dataset waits for: answers that are paid and not written, and why the last run ended."""

from __future__ import annotations

from pathlib import Path

from latentext.dataset.documents import read_json
from latentext.engines.openai.journal import read_waiting
from latentext.errors import DatasetError
from latentext.run.workspace import JOURNAL


def waiting(root: Path) -> tuple[str, ...]:
    """A line for each of them; none where nothing waits."""
    lines = []
    if count := read_waiting(root / JOURNAL):
        what = "answer of the server waits" if count == 1 else "answers of the server wait"
        lines.append(f"{count:,} {what} in the journal until their shard is written")
    try:
        error = read_json(root / "status.json").get("error")
    except DatasetError:  # Nothing depends on this file.
        error = None
    if isinstance(error, str) and error:
        lines.append(f"the last run stopped: {error}")
    return tuple(lines)
