"""The two tasks that have names, and what the model is told for each."""

from __future__ import annotations

import warnings

from rapidfuzz.distance import OSA

from latentext.errors import ArgumentError

SYSTEM_TEXTS = {
    "create": "You write the text that the user asks for, and nothing else.",
    "repeat": "You are a text generator who always repeats the text of the user verbatim.",
}
"""The system text of each named task."""


def system_text(task_type: str) -> str:
    """What the model is told: the text of a named task; any other string is the system text itself.

    A string that is one slip of the keyboard away from a task's name is probably meant to be it: that warns.

    Raises:
        ArgumentError: no string, or nothing but white space.

    Example:
        >>> system_text("Answer in one sentence.")
        'Answer in one sentence.'
    """
    if not isinstance(task_type, str) or not task_type.strip():
        raise ArgumentError(f"task_type is {task_type!r}", remedy="use create, repeat, or a system text of your own")
    if task_type in SYSTEM_TEXTS:
        return SYSTEM_TEXTS[task_type]
    for name in SYSTEM_TEXTS:
        if OSA.distance(task_type.strip().lower(), name) <= 1:
            warnings.warn(
                f"task_type {task_type!r} is taken as a system text; for the task write {name!r}", stacklevel=3
            )
    return task_type
