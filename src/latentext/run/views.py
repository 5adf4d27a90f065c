"""The views of a dataset, written at the end of a run or of a part of one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from latentext.dataset.documents import read_spec
from latentext.dataset.views import write_views
from latentext.phases import phase
from latentext.plan.note import PlanNote
from latentext.run.workspace import PLAN, Workspace
from latentext.storage.lease import Leases


def write_run_views(workspace: Workspace) -> dict[str, Any]:
    """Derive the views for all that was ever planned here: a lower limit or n than before removes nothing.

    One run at a time, each from what is on disk: of runs that share a directory, the last has the last word.
    """
    return _write(workspace.root, workspace.leases, workspace.plan.planned)


def write_views_without_a_model(root: Path) -> None:
    """The same from outside, where a run over workers ended before its time.

    Raises:
        DatasetError: there is nothing yet that views could be derived from.
    """
    if PlanNote.read(root / PLAN) is not None:
        with closing(Leases(root)) as leases:
            _write(root, leases, 0)


def _write(root: Path, leases: Leases, planned: int) -> dict[str, Any]:
    with leases.wait_for("views"), phase("counting what there is"):
        note = PlanNote.read(root / PLAN)
        return write_views(root, read_spec(root), requests=planned if note is None else note.planned)
