"""How a file of ours is known again before it is replaced: by what it begins with, or by its columns.

The first bytes are enough. They tell an export from a thesis, and a file of ours that was cut or damaged is still ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

_LOOKED_AT = 4096


def begins(pattern: str) -> Callable[[Path], bool]:
    """A test of files: whether the first bytes match a regular expression.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "rows.jsonl")
        >>> _ = path.write_text('{"index": 0, "text": "a"}')
        >>> begins(r'\\{"index": \\d+, ')(path), begins(r'\\{"scenario_id": ')(path)
        (True, False)
    """
    wanted = re.compile(pattern.encode(), re.DOTALL)

    def made_before(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                return wanted.match(file.read(_LOOKED_AT)) is not None
        except OSError:
            return False

    return made_before


def has_columns(names: Iterable[str]) -> Callable[[Path], bool]:
    """A test of files: whether it is Parquet and begins with these columns."""
    wanted = list(names)

    def made_before(path: Path) -> bool:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return bool(pq.read_schema(path).names[: len(wanted)] == wanted)
        except (OSError, pa.ArrowException):
            return False

    return made_before
