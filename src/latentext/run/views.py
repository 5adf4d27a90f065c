"""The views of a dataset, written at the end of a run or of a part of one."""

from __future__ import annotations

from typing import Any

from latentext.dataset.documents import read_spec
from latentext.dataset.views import write_views
from latentext.plan.note import PlanNote
from latentext.run.workspace import PLAN, Workspace


def write_run_views(workspace: Workspace) -> dict[str, Any]:
    """Derive the views for all that was ever planned here: a lower limit or n than before removes nothing.

    One run at a time, each from what is on disk: of runs that share a directory, the last has the last word.
    """
    with workspace.leases.wait_for("views"):
        note = PlanNote.read(workspace.root / PLAN)
        requests = workspace.plan.planned if note is None else note.planned
        return write_views(workspace.root, read_spec(workspace.root), requests=requests)
