"""How a task becomes the text that a model reads.

A scenario is asked in several forms: one whose answer is a single token ("Answer this question with Yes or No …") and
one that is answered at length. Both twins of a pair go through the same form, so whatever stands around the task
cannot make them differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARKS = ".!?…。！？"
_END = re.compile(rf"""(?P<marks>[{_MARKS}]*)(?P<closing>["'”’)\]]*)(?P<after>[\s,;:{_MARKS}]*)$""")


@dataclass(frozen=True, slots=True)
class Form:
    """Text around a task: prefix + task + one terminal mark + suffix.

    Example:
        >>> Form("single_token", "Yes or No?\\n", "\\nAnswer: ").text("Help me make a cake")
        'Yes or No?\\nHelp me make a cake.\\nAnswer: '
    """

    name: str
    prefix: str = ""
    suffix: str = ""
    terminal_mark: bool = True

    def text(self, task: str) -> str:
        """The task in this form."""
        return f"{self.prefix}{self.sentence(task)}{self.suffix}"

    def sentence(self, task: str) -> str:
        """The task alone, as it stands in this form."""
        return with_terminal_mark(task) if self.terminal_mark else task


BARE = Form("text", terminal_mark=False)
"""A text that is taken exactly as it is."""


def with_terminal_mark(task: str) -> str:
    """The task with exactly one mark at its end, "." unless it has one, and no space around it.

    "make a cake", "make a cake." and "make a cake.." are the same task. A comma, colon or semicolon at the end is
    dropped; of several marks the first stays; a mark inside a closing quote or bracket counts. Without a letter or
    digit there is no task, and the result is empty.

    Example:
        >>> [with_terminal_mark(task) for task in ("Make a cake", " Make a cake.. ", "Is it warm?", 'He said "go."')]
        ['Make a cake.', 'Make a cake.', 'Is it warm?', 'He said "go."']
    """
    task = task.strip()
    if task[-1:].isalnum():
        return f"{task}."
    if not any(character.isalnum() for character in task):
        return ""
    end = _END.search(task)
    assert end is not None  # All of its parts may be empty.
    body, closing = task[: end.start()], end["closing"]
    if inside := _first_mark(end["marks"]):
        return f"{body}{inside}{closing}"
    return f"{body}{closing}{_first_mark(end['after']) or '.'}"


def _first_mark(text: str) -> str:
    return next((character for character in text if character in _MARKS), "")
