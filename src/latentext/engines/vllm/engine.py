"""The engine `vllm`: texts by vLLM, several shards at a time through one engine that never drains.

vLLM decides by itself what it batches with what, so the last bits of its logits depend on what else is in flight: a run
that is continued gives the same texts in greedy float32 and, with the same seeds, may give others elsewhere. The engine
starts with the first texts and stays for all that follow (a sweep over temperatures, say), until it is closed.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from latentext.engines.engine import Capture, Generated
from latentext.engines.stopping import StopStrings, unfit
from latentext.engines.transformers.engine import state_dtype
from latentext.engines.vllm import starting
from latentext.engines.vllm.extraction import read_extracted
from latentext.engines.vllm.loop import StepLoop, Ticket, VllmOrder, Written
from latentext.engines.vllm.sampling import sampling_params, text_seed
from latentext.engines.vllm.support import refuse_unsupported
from latentext.errors import LatentextError
from latentext.models.deciding import end_tokens_of
from latentext.models.resolve import resolve_model
from latentext.request import Completion, Failure, Request
from latentext.spec import Decoding, ModelSpec
from latentext.storage.atomic import temporary_folder

__all__ = ["VllmEngine", "refuse_unsupported"]


class VllmEngine:
    """Generation by vLLM, which is loaded with the first texts.

    Args:
        model: with ``engine: vllm``.
        tokenizer: of that model; it decodes the texts.
        start: makes vLLM's engine, for a program that has one already.

    Raises:
        SpecError, EngineError: vLLM is not installed, cannot be imported or finds no device.

    Example:
        >>> engine = VllmEngine(ModelSpec(engine="vllm"), tokenizer)                 # doctest: +SKIP
        >>> [r.completion.text for r in engine.generate(requests, range(1), Decoding(), 0)]  # doctest: +SKIP
    """

    name = "vllm"
    shards_in_flight = 2

    def __init__(
        self,
        model: ModelSpec,
        tokenizer: PreTrainedTokenizerBase,
        start: Callable[[ModelSpec, tuple[str, ...], Path], Any] = starting.start,
    ):
        starting.prepare_environment()
        self.model, self.tokenizer, self._start = model, tokenizer, start
        self.starts = 0
        """How often vLLM was started: once, unless another capture asks for other settings."""
        self._loop: StepLoop | None = None
        self._sites: tuple[str, ...] = ()
        self._storage = ExitStack()
        self._lock = threading.Lock()

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
        """Write all samples of all requests; prompts that leave no room in the context become failures.

        Texts come as they are finished; with states they come in the order of the requests, so that the files of states
        do not depend on which was finished first.

        Raises:
            EngineError: vLLM did not start, died, or was closed.
        """
        loop = self._running(capture.sites if capture is not None else ())
        config = loop.engine().model_config
        context_length, end_tokens = int(config.max_model_len), self._end_token_ids
        stop_strings = StopStrings(self.tokenizer, decoding)
        texts: list[tuple[Request, int]] = []
        orders: list[VllmOrder] = []
        for request in requests:
            if (reason := unfit(request, context_length, int(config.get_vocab_size()))) is not None:
                yield from (Failure(request.index, s, *reason) for s in samples)
                continue
            room = min(decoding.max_new_tokens, context_length - len(request.prompt_token_ids))
            for sample in samples:
                params = sampling_params(
                    decoding, text_seed(seed, request.key, sample), room, end_tokens, extract=capture is not None
                )
                texts.append((request, sample))
                orders.append(VllmOrder(request.prompt_token_ids, params, stop_strings if decoding.stop else None))
        with _ordered(loop, orders, under_way) as ticket:
            for written in ticket if capture is None else in_order(ticket):
                request, sample = texts[written.number]
                if written.problem:
                    yield Failure(request.index, sample, "refused-by-vllm", written.problem)
                    continue
                completion = _completion(written, request, sample, decoding, stop_strings)
                states = None
                if capture is not None:
                    dtype = state_dtype(capture.states.dtype, config.dtype)
                    states = read_extracted(written.states_path, request, sample, written.token_ids, capture, dtype)
                yield Generated(completion, states)

    @property
    def steps(self) -> int:
        """Passes of the engine since it was started."""
        return 0 if self._loop is None else self._loop.steps

    def slots_for(self, requests: Sequence[Request], decoding: Decoding) -> int:
        """All of a shard is handed over at once; vLLM decides how much of it is in flight."""
        return max(1, len(requests))

    def committed(self, requests: Sequence[Request], samples: range) -> None:
        """Nothing was kept elsewhere."""

    def close(self) -> None:
        """Give vLLM's memory back; it starts again if there is more to write."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()
        with suppress(LatentextError):  # What vLLM still holds there is removed by the next one.
            self._storage.close()

    def _running(self, sites: tuple[str, ...]) -> StepLoop:
        """The loop, started if it is not, or if it was started to extract other states."""
        with _PROCESS, self._lock:
            if self._loop is not None and self._sites != sites:
                self._close()
            if self._loop is None:
                _make_way_for(self)
                start = partial(self._start, self.model, sites, self._storage.enter_context(temporary_folder("vllm")))
                self._loop, self._sites = StepLoop(start, starting.stop), sites
                self.starts += 1
            return self._loop

    @cached_property
    def _end_token_ids(self) -> frozenset[int]:
        """The tokens that end a text, by the same rule as with a model that transformers loaded."""
        source = resolve_model(self.model.name, self.model.revision)
        return end_tokens_of(source, self.tokenizer, self.model.trust_remote_code)


_PROCESS = threading.Lock()
_last_started: weakref.ref[VllmEngine] | None = None


def _make_way_for(engine: VllmEngine) -> None:
    """Close the engine that was started before: vLLM's groups of devices belong to the process, and to one engine.

    What is closed starts again when it is needed again, so two engines may be used in turns.
    """
    global _last_started
    before = _last_started() if _last_started is not None else None
    if before is not None and before is not engine:
        before.close()
    _last_started = weakref.ref(engine)


@contextmanager
def _ordered(loop: StepLoop, orders: Sequence[VllmOrder], under_way: Callable[[int], None] | None) -> Iterator[Ticket]:
    """A ticket for these texts, given back however the block ends."""
    ticket = loop.submit(orders, under_way)
    try:
        yield ticket
    finally:
        loop.drop(ticket)


def in_order(ticket: Ticket) -> Iterator[Written]:
    """The texts of a ticket in the order in which they were asked for."""
    early: dict[int, Written] = {}
    due = 0
    for written in ticket:
        early[written.number] = written
        while due in early:
            yield early.pop(due)
            due += 1


def _completion(
    written: Written, request: Request, sample: int, decoding: Decoding, stop_strings: StopStrings
) -> Completion:
    return Completion(
        index=request.index,
        sample=sample,
        text=stop_strings.text(request.prompt_token_ids, written.token_ids),
        token_ids=written.token_ids,
        finish_reason=written.finish_reason,
        logprobs=written.logprobs if decoding.logprobs else None,
    )
