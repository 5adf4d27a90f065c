"""Whether requests are those that were planned, by the plan's digests; the first that is not is named with its column.

A request has two digests: of its prompt, and of what is stored with it. The columns of a row that its prompt does not
name decide no text, but every reader takes them for that row's: texts of four equal prompts whose rows were exchanged
would get each other's labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from latentext.dataset import layout
from latentext.errors import SpecError
from latentext.plan.encoding import Prompt, PromptEncoder, digests_of
from latentext.plan.note import PlanNote
from latentext.plan.stored import StoredRows, rows_of
from latentext.prompts.rows import BadRow
from latentext.storage.filesystem import open_regular

DIGEST = np.dtype("<u8")
PROMPTS, ROWS = "digests.u64", "rows.u64"
"""The files of the two digests in a plan's folder."""

Digests = npt.NDArray[np.uint64]

_SHOWN_CHARACTERS = 80


def digests_of_all(prompts: list[Prompt | BadRow]) -> tuple[Digests, Digests]:
    """The digests of the prompts, and of what is stored with them."""
    found = np.array([digests_of(prompt) for prompt in prompts], dtype=DIGEST).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def read_digests(directory: Path, name: str, start: int, stop: int) -> Digests:
    """The digests of requests `start` … `stop` - 1 in the file `name`."""
    with open_regular(directory / name) as file:
        return np.fromfile(file, dtype=DIGEST, count=stop - start, offset=start * DIGEST.itemsize)


def digests_sha256(path: Path, count: int) -> str | None:
    """Hash of the first `count` digests of a file, None where it has fewer, or is no regular file."""
    try:
        with open_regular(path) as file:
            return hashlib.sha256(np.memmap(file, DIGEST, "r", shape=count).data).hexdigest()
    except (OSError, ValueError):
        return None


def refuse_changed(
    encoder: PromptEncoder, prompts: list[Prompt | BadRow], directory: Path, start: int, stored: StoredRows | None
) -> None:
    """Refuse requests, `start` the first, that are not those that were planned.

    Args:
        stored: says what a changed row held before, where its request is finished.

    Raises:
        SpecError: names the first that differs, and its column.
    """
    of_prompts, of_rows = digests_of_all(prompts)
    stop = start + len(prompts)
    same_prompts = of_prompts == read_digests(directory, PROMPTS, start, stop)
    same_rows = of_rows == read_digests(directory, ROWS, start, stop)
    for place in np.flatnonzero(~(same_prompts & same_rows))[:1]:
        index, prompt = int(start + place), prompts[place]
        if isinstance(prompt, BadRow) or not same_prompts[place]:
            raise _other_prompt(index, prompt)
        raise _other_row(encoder, index, prompt, stored)


def refuse_changed_records(
    encoder: PromptEncoder,
    prompts: list[Prompt | BadRow],
    directory: Path,
    start: int,
    planned: int,
    stored: StoredRows | None,
) -> None:
    """The same where the plan lacks the digests of what is stored: then the finished records decide.

    Args:
        planned: how many requests have the digest of their prompt.
    """
    if here := prompts[: max(0, planned - start)]:
        same = digests_of_all(here)[0] == read_digests(directory, PROMPTS, start, start + len(here))
        for place in np.flatnonzero(~same)[:1]:
            raise _other_prompt(int(start + place), prompts[place])
    for row in () if stored is None else stored.between(start, start + len(prompts)):
        now = prompts[row.index - start]
        if isinstance(now, BadRow):
            raise _other_prompt(row.index, now)
        if (difference := row.difference(now)) is not None:
            why = "compared with the finished records: a plan of latentext 0.1.0 does not hold its rows"
            raise changed(f"{_named_row(encoder, row.index)}: {difference} ({why})", columns=True)


def unplanned_rows(root: Path) -> Iterator[tuple[str, int]]:
    """The finished records of a dataset whose columns or messages are not those that were planned: the file, relative
    to `root`, and the first such request in it. None where the plan holds no digests of its rows.

    Raises:
        DatasetError: the plan or a file of records cannot be read.
    """
    directory = root / layout.PLAN
    note = PlanNote.read(directory)
    if note is None or not note.rows_sha256 or digests_sha256(directory / ROWS, note.count) != note.rows_sha256:
        return
    for stage in layout.list_stages(root, "records"):
        for number in layout.list_shards(root, stage):
            name = f"{stage}/{layout.table_name(number)}"
            rows = [row for row in rows_of(root / name) if row.index < note.count]
            if not rows:
                continue
            first, last = rows[0].index, rows[-1].index
            planned = read_digests(directory, ROWS, first, last + 1)
            if (other := next((r.index for r in rows if planned[r.index - first] != r.digest), None)) is not None:
                yield name, other


def changed(what: str, *, columns: bool = False) -> SpecError:
    """The refusal of rows that are not those that were planned; `columns` where the prompts are the same."""
    return SpecError(
        what,
        where="prompts",
        remedy="restore the input, or start again with --fresh",
        heading="Rows that changed" if columns else None,
    )


def _other_prompt(index: int, prompt: Prompt | BadRow) -> SpecError:
    text = prompt.message if isinstance(prompt, BadRow) else " ".join(prompt.text.split())
    return changed(f"request {index} is not the one that was planned; it is now: {_shortened(text)}")


def _other_row(encoder: PromptEncoder, index: int, prompt: Prompt, stored: StoredRows | None) -> SpecError:
    """What changed in a row whose prompt is the same: by its record where there is one."""
    before = stored.find(index) if stored is not None else None
    difference = before.difference(prompt) if before is not None else None
    if difference is None:
        now = _shortened(", ".join(f"{name}: {value!r}" for name, value in prompt.variables.items()))
        difference = f"its prompt is the one that was planned, another column is not; the row is now {now}"
    return changed(f"{_named_row(encoder, index)}: {difference}", columns=True)


def _named_row(encoder: PromptEncoder, index: int) -> str:
    row = encoder.row_of(index)
    return f"row {row} (request {index})" if row != index else f"row {row}"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
