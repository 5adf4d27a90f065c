"""What the runner asks of an engine, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from latentext.request import Completion, Failure, Request, StateRows
from latentext.spec import Decoding, StatesSpec


@dataclass(frozen=True)
class Capture:
    """States to be read while generating: what the spec asks, with sites resolved to names."""

    states: StatesSpec
    sites: tuple[str, ...]


@dataclass(frozen=True)
class Generated:
    """One finished text, with its states where they were read in flight."""

    completion: Completion
    states: StateRows | None = None


class OutOfMemory(Exception):  # noqa: N818 - a signal to the stage, which halves the batch
    """The batch did not fit; nothing of the shard is kept and it may be tried again with fewer slots."""


class Engine(Protocol):
    """Requests → completions. A shard is one call; its outputs may come in any fixed order."""

    name: str

    @property
    def shards_in_flight(self) -> int:
        """How many shards may be generated at once, each by a call in a thread of its own; 1: one after the other."""
        ...

    def generate(
        self,
        requests: Sequence[Request],
        samples: range,
        decoding: Decoding,
        seed: int,
        *,
        capture: Capture | None = None,
        slots: int | None = None,
        under_way: Callable[[int], None] | None = None,
    ) -> Generator[Generated | Failure, None, None]:
        """Write the given samples of every request; `slots` bounds the batch (None: the engine's own choice).

        `under_way` is told, before each pass, how many tokens the texts have that are not finished; an engine that
        does not know leaves it alone. It may be called from another thread.

        Closing the generator, or the engine from another thread, ends the work promptly.
        """
        ...

    def slots_for(self, requests: Sequence[Request], decoding: Decoding) -> int:
        """Texts in flight for these requests: a pure function of them and of the recorded batch budget."""
        ...

    def committed(self, requests: Sequence[Request], samples: range) -> None:
        """These texts are on disk: what was kept for them elsewhere may be let go."""
        ...

    def close(self) -> None:
        """Give memory and connections back. Calls to `generate` that are under way in other threads end with an error;
        one that comes later takes them up again."""
        ...
