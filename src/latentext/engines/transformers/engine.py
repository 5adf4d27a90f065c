"""The engine `transformers`: a shard of requests through the decode loop, texts and states out.

How many texts are in flight follows from the longest request of the shard and from `batch_tokens`, a budget that is
fixed when a run starts and recorded, so that a shard computed again is batched the same way.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from math import isfinite

import torch

from latentext.engines.engine import Capture, Generated, OutOfMemory
from latentext.engines.fitting import unfit
from latentext.engines.stopping import StopStrings
from latentext.engines.transformers.decode import NO_TOKEN_LEFT, NONFINITE, Decoder, Task, Text
from latentext.engines.transformers.fixed_steps import FEWEST_STEPS, FixedSteps, can_be_fixed
from latentext.engines.transformers.loading import LoadedModel, kv_bytes_per_token
from latentext.engines.transformers.verify_decode import Verifier, can_verify
from latentext.errors import EngineError
from latentext.request import Completion, Failure, Request, StateRows
from latentext.spec import Decoding
from latentext.states.inflight import InflightCapture
from latentext.states.layout import reading

logger = logging.getLogger(__name__)

MOST_BATCH_TOKENS = 262_144
"""Beyond this many tokens in flight no machine measured here became faster."""


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
    ) -> Generator[Generated | Failure, None, None]:
        """Write all samples of all requests; prompts that leave no room in the context become failures.

        One call runs at a time: a call from another thread waits until this one has handed out its last text.

        Raises:
            OutOfMemory: with more than one slot. With one slot the text that does not fit becomes a failure.
            EngineError: the engine was closed in the meantime.
        """
        closings = self._closings
        with self.loaded.layout.turn:
            self._closings_before = closings
            self._unless_closed()
            yield from self._generate(requests, samples, decoding, seed, capture, slots)

    def _generate(
        self,
        requests: Sequence[Request],
        samples: range,
        decoding: Decoding,
        seed: int,
        capture: Capture | None,
        slots: int | None,
    ) -> Iterator[Generated | Failure]:
        fitting: list[Request] = []
        for request in requests:
            if (reason := unfit(request, self.loaded.context_length, self.loaded.vocab_size)) is None:
                fitting.append(request)
            else:
                yield from (Failure(request.index, s, *reason) for s in samples)
        tasks = [Task(r, s, self._room(r, decoding)) for r in fitting for s in samples]
        if not tasks:
            return
        slots = min(slots or self.slots_for(fitting, decoding), len(tasks))
        if slots > 1:
            yield from self._write(tasks, decoding, seed, capture, slots)
            return
        for task in tasks:
            try:
                yield from self._write([task], decoding, seed, capture, 1)
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
        self, tasks: list[Task], decoding: Decoding, seed: int, capture: Capture | None, slots: int
    ) -> Iterator[Generated | Failure]:
        if decoding.expect is not None and self._can_verify:
            yield from self._verify(tasks, decoding, capture, slots)
            return
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
            decoder = Decoder(
                self.loaded,
                decoding,
                seed,
                slots=slots,
                columns=longest + most_new,
                capture=reader,
                fixed=fixed,
            )
            for text in decoder.run(tasks, self._unless_closed):
                states = None
                if reader and not text.problem:
                    states = reader.take(text.slot, text.task.request, text.task.sample, text.token_ids)
                yield self._finished(text, states, decoding, decoder.stop_strings)
            self.forward_calls += decoder.forward_calls

    def _verify(
        self, tasks: list[Task], decoding: Decoding, capture: Capture | None, slots: int
    ) -> Iterator[Generated | Failure]:
        """The same for texts that are expected: greedy decoding, checked instead of written."""
        dtype = state_dtype(capture.states.dtype if capture else "model", self.loaded.dtype)
        verifier = Verifier(self.loaded, decoding, slots=slots, capture=capture, dtype=dtype)
        stop_strings = StopStrings(self.tokenizer, decoding)
        with self._memory_errors():
            for text, states in verifier.run(tasks, self._unless_closed):
                yield self._finished(text, states, decoding, stop_strings)
        self.forward_calls += verifier.forward_calls

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
        self, text: Text, states: StateRows | None, decoding: Decoding, stop_strings: StopStrings
    ) -> Generated | Failure:
        request, sample = text.task.request, text.task.sample
        if text.problem:
            what = f"{_PROBLEMS[text.problem]} at generated token {len(text.token_ids) - 1}"
            return Failure(request.index, sample, text.problem, what)
        if states is not None and (failure := nonfinite_states(states)) is not None:
            return failure
        completion = Completion(
            index=request.index,
            sample=sample,
            text=stop_strings.text(text.token_ids),
            token_ids=text.token_ids,
            finish_reason=text.finish_reason,
            logprobs=text.logprobs if decoding.logprobs else None,
            entropies=text.entropies if decoding.entropy else None,
            verification=text.verification,
        )
        return Generated(completion, states)

    def _room(self, request: Request, decoding: Decoding) -> int:
        return min(decoding.max_new_tokens, self.loaded.context_length - len(request.prompt_token_ids))


def default_batch_tokens(loaded: LoadedModel) -> int:
    """Tokens in flight that a quarter of the machine's memory (half of a GPU's, less the weights) can hold."""
    if loaded.device.type == "cuda":
        total = torch.cuda.get_device_properties(loaded.device).total_memory
        weights = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
        budget = (total - weights) // 2
    else:
        budget = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    per_token = kv_bytes_per_token(loaded.model.config.get_text_config(), loaded.dtype)
    # One captured state of every block at most doubles what a token holds for its keys and values in common models.
    return int(max(1, min(MOST_BATCH_TOKENS, budget // (2 * per_token))))


def state_dtype(wanted: str, model_dtype: torch.dtype) -> torch.dtype:
    """The dtype in which states are kept."""
    return model_dtype if wanted == "model" else getattr(torch, wanted)


_SHORT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What torch's allocator on a CPU, the CUDA driver and cuBLAS say, each by an error of no kind of its own."""


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn the ways in which torch and Python say that memory is short into `OutOfMemory`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise OutOfMemory("the device has too little memory for this text") from error
    except MemoryError as error:
        raise OutOfMemory("this machine has too little memory for this text") from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _SHORT_OF_MEMORY):
            raise
        raise OutOfMemory("this machine has too little memory for this text") from error


def nonfinite_states(states: StateRows) -> Failure | None:
    """The failure of a text whose states hold a NaN or an infinity, by the first tensor that does; None if none."""
    bad = next((name for name, tensor in states.tensors.items() if not _all_finite(tensor)), None)
    if bad is None:
        return None
    return Failure(states.index, states.sample, "nonfinite-states", f"states are not finite at {bad}")


def _all_finite(tensor: torch.Tensor) -> bool:
    # A NaN shows in both extremes and an infinity in one. `isfinite` of each number takes twenty times as long.
    return tensor.numel() == 0 or all(map(isfinite, map(float, torch.aminmax(tensor))))
