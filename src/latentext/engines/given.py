"""Texts that are given: an engine that writes nothing, so that prompts become records whose states can be read.

With ``max_new_tokens: 0`` a prompt is the whole text. Its record has no generated tokens and the finish reason
``given``; states at ``positions: text`` come from a replay of its ids like those of any text that exists.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.loaded import LoadedModel
from latentext.finish_reasons import GIVEN
from latentext.request import Completion, Failure, Request
from latentext.spec import Decoding


class GivenTexts:
    """Completions without a token, of prompts that the model can read.

    Args:
        loaded: the model that will read them.
    """

    name = "given"
    shards_in_flight = 1

    def __init__(self, loaded: LoadedModel):
        self._loaded = loaded

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
        """One record a request; prompts that are longer than the model's context become failures."""
        for request in requests:
            for sample in samples:
                if (problem := self._unfit(request)) is None:
                    yield Generated(Completion(request.index, sample, "", (), GIVEN))
                else:
                    yield Failure(request.index, sample, *problem)

    def slots_for(self, requests: Sequence[Request], decoding: Decoding) -> int:
        """All of them: nothing is in flight."""
        return max(1, len(requests))

    def committed(self, requests: Sequence[Request], samples: range) -> None:
        """Nothing was kept."""

    def close(self) -> None:
        """Nothing is held: the model belongs to whoever loaded it."""

    def _unfit(self, request: Request) -> tuple[str, str] | None:
        length, context = len(request.prompt_token_ids), self._loaded.context_length
        if length == 0:
            return "empty-prompt", "the text has no tokens"
        if length > context:
            return "prompt-too-long", f"the text has {length} tokens; the model's context is {context}"
        if min(request.prompt_token_ids) < 0 or max(request.prompt_token_ids) >= self._loaded.vocab_size:
            return "bad-token", f"the text has a token id outside the model's vocabulary of {self._loaded.vocab_size}"
        return None
