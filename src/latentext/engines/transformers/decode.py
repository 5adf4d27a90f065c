"""The decode loop: many texts at once, finished rows replaced by waiting prompts, states read as they are made.

`generate` of transformers waits for the longest text of a batch, copies its cache at every step and gives no hold on
single rows. This loop calls the same model forward with the cache of `cache.py`:

    admit   waiting prompts are prefilled (each distinct prompt once) into free rows, right-aligned at the newest column
    step    every active row is forwarded by one token
    accept  logits → penalties → token; finished texts are handed out, the last rows move into the holes they leave

What is admitted when depends on the tasks and on the texts they give, never on time, so a shard computed again gives
the same bytes. A row is a place in the batch, a slot the place of a text in the capture buffers; only rows move.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from latentext.engines.penalties import TokenHistory
from latentext.engines.sampling import sample, uniform
from latentext.engines.stopping import StopStrings
from latentext.engines.transformers.attention import decoding_attention
from latentext.engines.transformers.fixed_steps import FixedSteps, NotRecordable, StepBuffers
from latentext.engines.transformers.forward import distinct_prompts, last_logits, prompts_a_pass, right_aligned
from latentext.engines.transformers.loaded import LoadedModel
from latentext.request import Request, Verification
from latentext.spec import Decoding
from latentext.states.inflight import InflightCapture

SHIFT_ROOM = 64
"""Columns beyond the widest text, so that the window is moved back to the front only every so many steps."""

NONFINITE = "nonfinite-logits"
NO_TOKEN_LEFT = "no-token-left"
"""Why a text could not go on: NaN or infinite logits; penalties and bans that left no token."""


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """One text to write: a request, which sample of it, and the most tokens it may have."""

    request: Request
    sample: int
    max_new_tokens: int


@dataclass(slots=True)
class TextInFlight:
    """A text in flight."""

    task: DecodeTask
    slot: int
    row_start: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    finish_reason: str = ""
    problem: str = ""
    verification: Verification | None = None


class Decoder:
    """Writes the texts of many tasks with one model; `run` yields those that ended with the same pass.

    Args:
        slots: rows of the batch at most.
        columns: most tokens, prompt included, that a text can have.
        capture: where states go, or None.
        fixed: takes the steps in shapes of its own, with its own buffers; None: each step in the shape it has.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        decoding: Decoding,
        seed: int,
        *,
        slots: int,
        columns: int,
        capture: InflightCapture | None = None,
        fixed: FixedSteps | None = None,
    ):
        self.loaded, self.decoding, self.seed, self.capture = loaded, decoding, seed, capture
        self.slots, self.columns = slots, columns + SHIFT_ROOM
        device = loaded.device
        if fixed is None:
            buffers = StepBuffers.allocate(loaded, slots, self.columns)
        else:
            buffers = fixed.prepare(
                slots, self.columns, capture.sites if capture else (), capture.sink if capture else None
            )
        self.fixed, self.cache, self.mask = fixed, buffers.cache, buffers.mask
        self.position, self.next_token = buffers.position, buffers.next_token
        self.prompt_length = torch.zeros(slots, dtype=torch.long, device=device)
        self.slot_of_row = torch.zeros(slots, dtype=torch.long, device=device)
        self.history = TokenHistory(slots, loaded.vocab_size, decoding, device)
        self.texts: list[TextInFlight] = []
        self.waiting: deque[DecodeTask] = deque()
        self.end = 0
        self.forward_calls = 0
        self.stop_strings = StopStrings(loaded.tokenizer, decoding)
        self._eos = torch.tensor(sorted(loaded.eos_token_ids), dtype=torch.long, device=device)
        self._needs_entropy = decoding.entropy or (capture is not None and "entropy_mean" in capture.states.pool)

    @property
    def is_done(self) -> bool:
        """Whether no text is being written and none waits: the model is not needed any more."""
        return not self.waiting and not self.texts

    @property
    def tokens_under_way(self) -> int:
        """Tokens of the texts that are being written."""
        return sum(len(text.token_ids) for text in self.texts)

    def run(
        self, tasks: Sequence[DecodeTask], before_pass: Callable[[], None] = lambda: None
    ) -> Iterator[list[TextInFlight]]:
        """Write all texts; longest prompts first, so that the window never has to widen.

        The slots of the texts that are handed out are theirs until the next are asked for.

        Args:
            before_pass: called before each pass; what it raises ends the work.
        """
        self.waiting.extend(sorted(tasks, key=lambda t: -len(t.request.prompt_token_ids)))
        free = list(range(self.slots))[::-1]
        refill_at = max(1, self.slots // 8)
        while not self.is_done:
            before_pass()
            if self.waiting and (not self.texts or len(free) >= min(len(self.waiting), refill_at)):
                group = [self.waiting.popleft() for _ in range(min(len(free), len(self.waiting)))]
                finished = self._admit(group, free)
            else:
                finished = self._step()
            if finished:
                yield finished
                free += [text.slot for text in finished]

    # --- one pass -----------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _admit(self, group: list[DecodeTask], free: list[int]) -> list[TextInFlight]:
        finished: list[TextInFlight] = []
        if not self.texts:
            self.end = 0
        self.end = max(self.end, len(group[0].request.prompt_token_ids))
        while group:
            count = prompts_a_pass(len(group[0].request.prompt_token_ids))
            chunk, group = group[:count], group[count:]
            first_row = len(self.texts)
            if self.fixed is not None and self.fixed.spoiled:
                for row in range(first_row, first_row + len(chunk)):
                    self.cache.clear_row(row)
            for task in chunk:
                length = len(task.request.prompt_token_ids)
                self.texts.append(TextInFlight(task, free.pop(), self.end - length))
            finished += self._prefill(range(first_row, len(self.texts)))
        return finished

    def _prefill(self, rows: range) -> list[TextInFlight]:
        texts = [self.texts[r] for r in rows]
        prompts, source_rows = distinct_prompts([t.task.request.prompt_token_ids for t in texts])
        longest = len(prompts[0])
        token_ids, attention_mask = right_aligned(prompts, self.loaded.device)
        slots = torch.tensor([t.slot for t in texts], device=self.loaded.device)
        lengths = [len(t.task.request.prompt_token_ids) for t in texts]
        if self.capture:
            self.capture.expect_prefill(slots, source_rows, lengths)
        window = self.cache.window
        window.row_start, window.row_stop = rows.start, rows.start + len(prompts)
        window.start = window.write = self.end - longest
        logits = self._forward(token_ids, attention_mask, (attention_mask.cumsum(-1) - 1).clamp_(min=0))
        if len(prompts) < len(texts):
            self._share_prefill(rows.start, source_rows, self.end - longest)
            logits = logits[source_rows]
        here = slice(rows.start, rows.stop)
        self.slot_of_row[here] = slots
        self.prompt_length[here] = self.position[here] = torch.tensor(lengths, device=self.loaded.device)
        for row, length in zip(rows, lengths, strict=True):
            self.mask[row] = 0
            self.mask[row, self.end - length : self.end] = 1
            self.history.start(self.texts[row].slot, self.texts[row].task.request.prompt_token_ids)
        return self._accept(rows, logits)

    @torch.inference_mode()
    def _step(self) -> list[TextInFlight]:
        active = len(self.texts)
        start = min(t.row_start for t in self.texts)
        if self.end == self.columns:
            start = self._shift(start)
        self.mask[:active, self.end] = 1
        if self.capture:
            steps = self.position[:active] - self.prompt_length[:active] + 1
            self.capture.expect_step(self.slot_of_row[:active], steps, self.prompt_length[:active])
        logits = self._fixed_step(active)
        if logits is None:
            window = self.cache.window
            window.row_start, window.row_stop, window.start, window.write = 0, active, start, self.end
            with decoding_attention(self.loaded):
                logits = self._forward(
                    self.next_token[:active, None],
                    self.mask[:active, start : self.end + 1],
                    self.position[:active, None],
                )
        self.end += 1
        self.position[:active] += 1
        return self._accept(range(active), logits)

    def _fixed_step(self, active: int) -> torch.Tensor | None:
        if self.fixed is None or not self.fixed.usable:
            return None
        try:
            logits = self.fixed.step(active, self.end)
        except NotRecordable:
            return None
        self.forward_calls += 1
        return logits

    def _forward(
        self, token_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor
    ) -> torch.Tensor:
        self.forward_calls += 1
        return last_logits(self.loaded, self.cache, token_ids, attention_mask, position_ids)

    # --- from logits to texts -----------------------------------------------------------------------------------

    def _accept(self, rows: range, logits: torch.Tensor) -> list[TextInFlight]:
        here = slice(rows.start, rows.stop)
        texts = self.texts[here]
        slots = self.slot_of_row[here]
        logprobs = logits.log_softmax(-1) if self.decoding.logprobs or self._needs_entropy else None
        entropies = _entropy(logprobs) if self._needs_entropy and logprobs is not None else None
        if self.capture:
            self.capture.after_logits(entropies)
        tokens, chosen, problems = self._choose(texts, slots, logits)
        self.next_token[here] = tokens
        self.history.append(slots, tokens)
        if logprobs is not None and self.decoding.logprobs:
            for text, value in zip(texts, logprobs.gather(-1, tokens[:, None])[:, 0].tolist(), strict=True):
                text.logprobs.append(value)
        if entropies is not None and self.decoding.entropy:
            for text, value in zip(texts, entropies.tolist(), strict=True):
                text.entropies.append(value)
        for text, token, problem in zip(texts, chosen, problems, strict=True):
            text.token_ids.append(token)
            text.problem = problem
            text.finish_reason = "failed" if problem else self._finish_reason(text, token)
        return self._remove_finished()

    def _choose(
        self, texts: list[TextInFlight], slots: torch.Tensor, logits: torch.Tensor
    ) -> tuple[torch.Tensor, list[int], list[str]]:
        """The next token of each text [batch], the same as a list, and why the text cannot go on ("" where it can)."""
        # NaN and +inf both show in the maximum; such a text must not reach the sampler. A maximum alone is found ten
        # times as fast as one with its place.
        best = logits.amax(-1)
        broken = ~torch.isfinite(best)
        allowed = self._forbid_early_end(texts, self.history.penalise(logits, slots))
        if allowed is not logits:
            best = allowed.amax(-1)
        usable = torch.isfinite(best) & ~broken
        if self.decoding.temperature == 0.0:
            tokens = allowed.argmax(-1)
            chosen, flags = torch.stack((tokens, usable)).tolist()  # At once: each such list waits for the device.
        else:
            flags = usable.tolist()
            if not all(flags):
                allowed = allowed.masked_fill(~usable[:, None], 0.0)
            uniforms = [uniform(self.seed, t.task.request.key, t.task.sample, len(t.token_ids)) for t in texts]
            numbers = torch.tensor(uniforms, dtype=torch.float64, device=logits.device)
            tokens = sample(allowed, self.decoding, numbers)
            chosen = tokens.tolist()
        if all(flags):
            return tokens, chosen, [""] * len(texts)
        reasons = [NONFINITE if bad else NO_TOKEN_LEFT for bad in broken.tolist()]
        return tokens, chosen, ["" if ok else reason for ok, reason in zip(flags, reasons, strict=True)]

    def _forbid_early_end(self, texts: list[TextInFlight], logits: torch.Tensor) -> torch.Tensor:
        early = [len(t.token_ids) < self.decoding.min_new_tokens for t in texts]
        if not any(early):
            return logits
        logits = logits.clone()
        rows = torch.tensor(early, device=logits.device)
        logits[:, self._eos] = logits[:, self._eos].masked_fill(rows[:, None], -torch.inf)
        return logits

    def _finish_reason(self, text: TextInFlight, token: int) -> str:
        prompt = text.task.request.prompt_token_ids
        if token in self.loaded.eos_token_ids or self.stop_strings.reached(prompt, text.token_ids):
            return "stop"
        return "length" if len(text.token_ids) >= text.task.max_new_tokens else ""

    # --- rows ---------------------------------------------------------------------------------------------------

    def _remove_finished(self) -> list[TextInFlight]:
        finished = [t for t in self.texts if t.finish_reason]
        if not finished:
            return []
        for row, text in enumerate(self.texts):
            if text.problem:
                self.cache.clear_row(row)
                if self.fixed is not None:
                    self.fixed.spoiled = True
        kept = len(self.texts) - len(finished)
        holes = [r for r in range(kept) if self.texts[r].finish_reason]
        movers = [r for r in range(kept, len(self.texts)) if not self.texts[r].finish_reason]
        if movers:
            source, target = (torch.tensor(r, device=self.loaded.device) for r in (movers, holes))
            start = min(self.texts[r].row_start for r in movers)
            self.cache.move_rows(source, target, start, self.end)
            for per_row in (self.mask, self.position, self.prompt_length, self.slot_of_row, self.next_token):
                per_row[target] = per_row[source]
            for mover, hole in zip(movers, holes, strict=True):
                self.texts[hole] = self.texts[mover]
        del self.texts[kept:]
        return finished

    def _share_prefill(self, first_row: int, source_rows: list[int], start: int) -> None:
        """Copy the keys and values of each distinct prompt to all the rows that continue it."""
        source = torch.tensor([first_row + r for r in source_rows], device=self.loaded.device)
        target = torch.arange(first_row, first_row + len(source_rows), device=self.loaded.device)
        self.cache.move_rows(source, target, start, self.end)

    def _shift(self, start: int) -> int:
        """Move the window to the front of the buffers; returns its new start."""
        self.cache.shift_to_front(start, self.end)
        self.mask[:, : self.end - start] = self.mask[:, start : self.end].clone()
        self.mask[:, self.end - start :] = 0
        for text in self.texts:
            text.row_start -= start
        self.end -= start
        return 0


def _entropy(logprobs: torch.Tensor) -> torch.Tensor:
    """Entropy in nats of each row; a token of probability zero contributes zero, not NaN."""
    return -(logprobs.exp() * logprobs.clamp(min=-1e4)).sum(-1)
