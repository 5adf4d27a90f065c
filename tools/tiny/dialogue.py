"""One training text: a single exchange under the chat template, or plain text without one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exchange:
    """A user turn and the answer that training asks for; ``system`` is empty for most."""

    family: str
    user: str
    answer: str
    system: str = ""


@dataclass(frozen=True, slots=True)
class PlainText:
    """Text without a chat template: BOS, the text, ``<|end_of_text|>``. The loss is on all of it."""

    family: str
    text: str


Sample = Exchange | PlainText
