"""Several temperatures in one plan: each chat of a spec is asked at every one of them.

The temperature is the inner loop, so that requests are appended when rows are, and the first N rows are the first
requests. A request at one of several temperatures has the key, and so the draws, that it has in a run of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from latentext.errors import SpecError
from latentext.prompts.conversations import Conversation
from latentext.prompts.rows import BadRow

TEMPERATURE = "temperature"
"""The variable that holds a request's temperature where a spec has several."""


class Chats(Protocol):
    """Chats by number; `identity` changes when any of them does, `row_of` is the row that a chat is made of, and
    `left_out` are the columns of the source that rows cannot have."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Conversation | BadRow: ...

    def row_of(self, index: int) -> int: ...

    def refuse_idle_templates(self) -> None: ...

    @property
    def left_out(self) -> tuple[str, ...]: ...

    @property
    def identity(self) -> Mapping[str, Any]: ...


class AtTemperatures:
    """`chats`, each at all of `temperatures`: number i is chat i // T at temperature i % T.

    Raises:
        SpecError: of a row that has a column `temperature`.
    """

    def __init__(self, chats: Chats, temperatures: Sequence[float]):
        self._chats, self._temperatures = chats, tuple(temperatures)

    def __len__(self) -> int:
        return len(self._chats) * len(self._temperatures)

    def __getitem__(self, index: int) -> Conversation | BadRow:
        number, place = divmod(index, len(self._temperatures))
        chat, temperature = self._chats[number], self._temperatures[place]
        if isinstance(chat, BadRow):
            return chat
        if TEMPERATURE in chat.variables:
            raise SpecError(
                "the rows have a column 'temperature', and the spec has several temperatures",
                where="prompts",
                remedy="give that column another name by prompts.columns",
            )
        return replace(chat, variables={**chat.variables, TEMPERATURE: temperature}, temperature=temperature)

    def refuse_idle_templates(self) -> None:
        self._chats.refuse_idle_templates()

    @property
    def left_out(self) -> tuple[str, ...]:
        return self._chats.left_out

    def row_of(self, index: int) -> int:
        return self._chats.row_of(index // len(self._temperatures))

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**self._chats.identity, "temperatures": list(self._temperatures)}
