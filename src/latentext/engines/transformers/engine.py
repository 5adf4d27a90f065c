"""The engine `transformers`: a shard of requests through the decode loop, texts and states out.

How many texts are in flight follows from the longest request of the shard and from `batch_tokens`, a budget that is
fixed when a run starts and recorded, so that a shard computed again is batched the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from functools import cached_property

import torch

from latentext.engines.engine import Capture, Generated, OutOfMemory
from latentext.engines.stopping import StopStrings, unfit
from latentext.engines.transformers.decode import NO_TOKEN_LEFT, NONFINITE, Decoder, DecodeTask, TextInFlight
from latentext.engines.transformers.fixed_steps import FEWEST_STEPS, FixedSteps, can_be_fixed
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.memory import default_batch_tokens, memory_errors
from latentext.engines.transformers.packed_weights import FEWEST_PASSES, packed_weights
from latentext.engines.transformers.verify_decode import Verifier, can_verify
from latentext.errors import EngineError
from latentext.request import Completion, Failure, Request, StateRows
from latentext.spec import Decoding
from latentext.states.host import HostCopies, texts_copied_together
from latentext.states.inflight import InflightCapture
from latentext.states.layout import reading, shared_passes

logger = logging.getLogger(__name__)

MOST_TEXTS_ON_CPU = 256
MOST_TEXTS_ON_GPU = 512
"""Texts in flight at most."""

_PROBLEMS = {
    NONFINITE: "logits are not finite",
    NO_TOKEN_LEFT: "no_repeat_ngram_size and min_new_tokens leave no token to choose",
}


class TransformersEngine:
    """Generation with a model in this process.

    Example:
        >>> from latentext.engines.transformers.loading import load_model
        >>> from latentext.spec import ModelSpec
        >>> engine = TransformersEngine(load_model(ModelSpec(name="tiny")))
        >>> engine.name
        'transformers'
    """

    name = "transformers"

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        batch_tokens: int | None = None,
        batch_size: int | None = None,
        fixed_shapes: bool | None = None,
    ):
        self.loaded = loaded
        self.tokenizer = loaded.tokenizer
        self.batch_tokens = batch_tokens or default_batch_tokens(loaded)
        self.batch_size = batch_size
        self.forward_calls = 0
        self.shards_in_flight = loaded.shards_in_flight
        fixed = can_be_fixed(loaded) if fixed_shapes is None else fixed_shapes
        self._fixed = FixedSteps(loaded) if fixed else None
        self._closings = self._closings_before = 0
        self._under_way: Callable[[int], None] | None = None
        self._noted_short_contexts = False

    def slots_for(self, requests: Sequence[Request], decoding: Decoding) -> int:
        """Texts in flight: as many of the longest kind as the token budget holds, up to a limit."""
        longest = max((len(r.prompt_token_ids) for r in requests), default=1)
        most = MOST_TEXTS_ON_CPU if self.loaded.device.type == "cpu" else MOST_TEXTS_ON_GPU
        most = min(most, self.batch_size or most)
        return max(1, min(most, self.batch_tokens // (longest + decoding.max_new_tokens)))

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

        One call writes at a time: a call from another thread waits until this one needs the model no more. Texts that
        ended with the last pass may still be handed out then.

        Raises:
            OutOfMemory: with more than one slot. With one slot the text that does not fit becomes a failure.
            EngineError: the engine was closed in the meantime.
        """
        closings = self._closings
        with ExitStack() as turn:
            turn.enter_context(self.loaded.layout.turn)
            self._closings_before, self._under_way = closings, under_way
            self._unless_closed()
            yield from self._generate(requests, samples, decoding, seed, capture, slots, turn)

    def _generate(
        self,
        requests: Sequence[Request],
        samples: range,
        decoding: Decoding,
        seed: int,
        capture: Capture | None,
        slots: int | None,
        turn: ExitStack,
    ) -> Iterator[Generated | Failure]:
        fitting: list[Request] = []
        for request in requests:
            context = self.loaded.context_of(len(request.prompt_token_ids))
            if (reason := unfit(request, context, self.loaded.vocab_size)) is None:
                fitting.append(request)
            else:
                yield from (Failure(request.index, s, *reason) for s in samples)
        tasks = [DecodeTask(r, s, self._room(r, decoding)) for r in fitting for s in samples]
        self._note_short_contexts(tasks, decoding)
        groups = shared_passes(self.loaded.layout, tasks, lambda task: len(task.request.prompt_token_ids))
        for group in groups:
            with ExitStack() as own:
                last = turn if group is groups[-1] else own  # More texts need the model.
                yield from self._write_group(group, decoding, seed, capture, slots, last)

    def _write_group(
        self,
        tasks: list[DecodeTask],
        decoding: Decoding,
        seed: int,
        capture: Capture | None,
        slots: int | None,
        turn: ExitStack,
    ) -> Iterator[Generated | Failure]:
        slots = min(slots or self.slots_for([task.request for task in tasks], decoding), len(tasks))
        if decoding.max_new_tokens * (len(tasks) // slots) >= FEWEST_PASSES:
            turn.enter_context(packed_weights(self.loaded.model))
        if slots > 1:
            yield from self._write(tasks, decoding, seed, capture, slots, turn)
            return
        for task in tasks:
            try:
                yield from self._write([task], decoding, seed, capture, 1, ExitStack())  # More texts need the model.
            except OutOfMemory as error:
                yield Failure(task.request.index, task.sample, "out-of-memory", str(error))

    def committed(self, requests: Sequence[Request], samples: range) -> None:
        """Nothing was kept elsewhere."""

    def close(self) -> None:
        """End the calls that are under way; the model goes with the last reference to the engine."""
        self._closings += 1
        with self.loaded.layout.turn:
            self._forget()

    @contextmanager
    def _memory_errors(self) -> Iterator[None]:
        try:
            with memory_errors():
                yield
        except OutOfMemory:
            self._forget()
            raise

    def _forget(self) -> None:
        if self._fixed is not None:
            self._fixed.forget()

    def _write(
        self,
        tasks: list[DecodeTask],
        decoding: Decoding,
        seed: int,
        capture: Capture | None,
        slots: int,
        turn: ExitStack,
    ) -> Iterator[Generated | Failure]:
        """Write these texts; `turn` is left as soon as the model is not needed any more."""
        if decoding.expect is not None and self._can_verify:
            yield from self._verify(tasks, decoding, capture, slots)
            return
        stop_strings, last = StopStrings(self.tokenizer, decoding), []
        with closing(self._groups(tasks, decoding, seed, capture, slots)) as groups:
            for group, is_last in groups:
                if is_last:
                    last = group
                    break
                for text, states in group:
                    yield self._finished(text, states, decoding, stop_strings)
        turn.close()
        last.reverse()
        while last:  # States that were handed out are not kept here too.
            yield self._finished(*last.pop(), decoding, stop_strings)

    def _groups(
        self, tasks: list[DecodeTask], decoding: Decoding, seed: int, capture: Capture | None, slots: int
    ) -> Generator[tuple[list[tuple[TextInFlight, StateRows | None]], bool], None, None]:
        """Texts with their states on the host, those that were copied together, and whether they are the last."""
        longest = max(len(t.request.prompt_token_ids) for t in tasks)
        most_new = max(t.max_new_tokens for t in tasks)
        reader = None
        if capture is not None:
            reader = InflightCapture(
                self.loaded.layout,
                capture.states,
                capture.sites,
                slots=slots,
                longest_prompt=longest,
                max_new_tokens=most_new,
                dtype=state_dtype(capture.states.dtype, self.loaded.dtype),
            )
        fixed = self._fixed if self._fixed and self._fixed.usable and most_new >= FEWEST_STEPS else None
        sink = fixed.sink if fixed else reader and reader.sink
        hooks = reading(self.loaded.layout, capture.sites, sink) if capture and sink else nullcontext()
        with self._memory_errors(), hooks:
            columns = longest + most_new
            decoder = Decoder(self.loaded, decoding, seed, slots=slots, columns=columns, capture=reader, fixed=fixed)
            for ended in decoder.run(tasks, lambda: self._before_pass(decoder)):
                together = texts_copied_together(self.loaded.device, reader.bytes_a_text) if reader else len(ended)
                for begin in range(0, len(ended), together):
                    group = ended[begin : begin + together]
                    is_last = decoder.is_done and begin + together >= len(ended)
                    if is_last:
                        self.forward_calls += decoder.forward_calls
                    yield _with_states(group, reader), is_last

    def _verify(
        self, tasks: list[DecodeTask], decoding: Decoding, capture: Capture | None, slots: int
    ) -> Iterator[Generated | Failure]:
        """The same for texts that are expected: greedy decoding, checked instead of written."""
        dtype = state_dtype(capture.states.dtype if capture else "model", self.loaded.dtype)
        verifier = Verifier(self.loaded, decoding, slots=slots, capture=capture, dtype=dtype)
        stop_strings = StopStrings(self.tokenizer, decoding)
        with self._memory_errors():
            for text, states in verifier.run(tasks, self._unless_closed):
                yield self._finished(text, states, decoding, stop_strings)
        self.forward_calls += verifier.forward_calls

    def _before_pass(self, decoder: Decoder) -> None:
        self._unless_closed()
        if self._under_way is not None:
            self._under_way(decoder.tokens_under_way)

    def _unless_closed(self) -> None:
        """Called before each pass: end the work if the engine was closed since it was asked for."""
        if self._closings != self._closings_before:
            raise EngineError("the engine was closed while it wrote")

    @cached_property
    def _can_verify(self) -> bool:
        if not (can := can_verify(self.loaded)):
            what = "logits of %s are more than its output embeddings: expected texts are decoded token by token"
            logger.warning(what, type(self.loaded.model).__name__)
        return can

    def _finished(
        self, text: TextInFlight, states: StateRows | None, decoding: Decoding, stop_strings: StopStrings
    ) -> Generated | Failure:
        request, sample = text.task.request, text.task.sample
        if text.problem:
            what = f"{_PROBLEMS[text.problem]} at generated token {len(text.token_ids) - 1}"
            return Failure(request.index, sample, text.problem, what)
        completion = Completion(
            index=request.index,
            sample=sample,
            text=stop_strings.text(request.prompt_token_ids, text.token_ids),
            token_ids=text.token_ids,
            finish_reason=text.finish_reason,
            logprobs=text.logprobs if decoding.logprobs else None,
            entropies=text.entropies if decoding.entropy else None,
            verification=text.verification,
        )
        return Generated(completion, states)

    def _note_short_contexts(self, tasks: Sequence[DecodeTask], decoding: Decoding) -> None:
        limit = self.loaded.layout.longrope_length
        cut = sum(
            t.max_new_tokens < decoding.max_new_tokens and len(t.request.prompt_token_ids) < (limit or 0) for t in tasks
        )
        if cut and not self._noted_short_contexts:
            self._noted_short_contexts = True
            what = "%s treats texts above %d tokens differently (LongRoPE): texts with shorter prompts end there"
            logger.warning(what, type(self.loaded.model).__name__, limit)

    def _room(self, request: Request, decoding: Decoding) -> int:
        length = len(request.prompt_token_ids)
        return min(decoding.max_new_tokens, self.loaded.context_of(length) - length)


def _with_states(
    texts: list[TextInFlight], reader: InflightCapture | None
) -> list[tuple[TextInFlight, StateRows | None]]:
    """The states of finished texts, copied to the host together; None for a text that failed."""
    if reader is None:
        return [(text, None) for text in texts]
    copies = HostCopies()
    taken = [
        (
            text,
            None
            if text.problem
            else reader.take(text.slot, text.task.request, text.task.sample, text.token_ids, copies),
        )
        for text in texts
    ]
    copies.wait()
    return taken


def state_dtype(wanted: str, model_dtype: torch.dtype) -> torch.dtype:
    """The dtype in which states are kept."""
    return model_dtype if wanted == "model" else getattr(torch, wanted)
