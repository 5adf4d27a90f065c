"""An engine without a model: the text for a prompt is the prompt, backwards. What is tested with it is the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence

from latentext.engines.engine import Capture, Generated
from latentext.errors import EngineError
from latentext.request import Completion, Failure, Request, Usage
from latentext.spec import Decoding


class EchoEngine:
    """Generates up to `shards_in_flight` shards at once, and knows how many it really did.

    Args:
        together: a shard's first text is held back until so many shards have begun: proof that they overlap.
        broken_at: the request whose text ends the engine with an error, when no text was given for a later one.
    """

    name = "echo"

    def __init__(self, shards_in_flight: int = 1, *, together: int = 1, broken_at: int | None = None):
        self.shards_in_flight = shards_in_flight
        self.committed_requests: list[int] = []
        self.closed = threading.Event()
        self._barrier = threading.Barrier(together)
        self._broken_at = broken_at

    def slots_for(self, requests: Sequence[Request], decoding: Decoding) -> int:
        return len(requests)

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
        self._barrier.wait(60)
        for request in requests:
            for sample in samples:
                if self._broken_at is not None:
                    if request.index == self._broken_at:
                        raise EngineError("the engine broke")
                    self.closed.wait(60)  # As a thread that waits for a server does.
                    raise EngineError("closed")
                text = request.prompt[::-1]
                usage = Usage(len(request.prompt), len(text))
                yield Generated(Completion(request.index, sample, text, (), "stop", usage=usage))

    def committed(self, requests: Sequence[Request], samples: range) -> None:
        self.committed_requests += [request.index for request in requests]

    def close(self) -> None:
        self.closed.set()
