"""Greedy decoding of texts that are known beforehand: one pass of the model checks what otherwise takes one a token.

Prompt and expected text go through the model at once. As long as the token with the highest logit is the expected one,
greedy decoding would have written the same, and the states of that pass are the states of the text. At the first
other token, that token is taken and the rest is expected anew (`drafts`); a text that differs too often is handed to
the ordinary decode loop. So the tokens are those of greedy decoding, at one pass for a text as expected and k + 1 for
k misses.

Passes are right-padded and need no mask, as in replay. Logits are made only where a token is to be chosen, a few
thousand rows at a time: the table of all of them would be larger than the model. Which texts share a pass follows from
the texts of the shard alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import isfinite

import torch

from latentext.engines.engine import Capture
from latentext.engines.transformers.decode import NONFINITE, Decoder, DecodeTask, TextInFlight
from latentext.engines.transformers.drafts import Draft, continuation, expected_texts, worth_another_pass
from latentext.engines.transformers.loaded import LoadedModel
from latentext.errors import SpecError
from latentext.request import StateRows
from latentext.spec import Decoding, StatesSpec
from latentext.states.host import changing_shapes
from latentext.states.layout import reading
from latentext.states.replay import WrittenText, replay
from latentext.states.text_rows import rows_of_text

PASS_TOKENS = 8_192
"""Tokens, padding included, that one pass takes at most; a longer text has a pass of its own."""

_LOGITS_AT_ONCE = {"cuda": 1 << 28}
_LOGITS_AT_ONCE_ELSEWHERE = 1 << 25
"""Logits (rows × vocabulary) that are held at a time; a GPU has nothing to do while few are looked at."""

_TIE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""A margin between the two highest logits below this part of the highest is within rounding (a few units in the last
place of the dtype)."""


@dataclass(frozen=True)
class _Choices:
    """The model's own choice at each place that was asked, in order, with its logit."""

    tokens: list[int]
    logits: list[float]
    logprobs: list[float]
    entropies: list[float]


class Verifier:
    """Writes texts whose requests hold the expected text; `run` yields each finished text with its states.

    Args:
        capture: which states are read, or None.
        slots: texts in a pass at most.
    """

    def __init__(
        self, loaded: LoadedModel, decoding: Decoding, *, slots: int, capture: Capture | None, dtype: torch.dtype
    ):
        self.loaded, self.decoding, self.slots, self.capture, self.dtype = loaded, decoding, slots, capture, dtype
        self.forward_calls = 0
        self._head = loaded.model.get_output_embeddings()
        self._pooled_by_entropy = capture is not None and "entropy_mean" in capture.states.pool
        self._sites = tuple(dict.fromkeys((*(capture.sites if capture else ()), "final_norm")))

    def run(
        self, tasks: Sequence[DecodeTask], before_pass: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[TextInFlight, StateRows | None]]:
        """Check all texts, round after round, and decode what is left.

        Args:
            before_pass: called before each pass; what it raises ends the work.
        """
        drafts = self._drafts(tasks)
        waiting = [draft for draft in drafts if draft.candidates]
        left = [draft for draft in drafts if not draft.candidates]
        while waiting:
            undecided = []
            for group in self._groups(waiting):
                before_pass()
                states = self._pass(group)
                for draft, rows in zip(group, states, strict=True):
                    if draft.finish_reason:
                        yield draft.text(), rows
                    elif draft.candidates and worth_another_pass(len(draft.token_ids), draft.misses):
                        undecided.append(draft)
                    else:
                        left.append(draft)
            waiting = undecided
        yield from self._decode(left, before_pass)

    def _drafts(self, tasks: Sequence[DecodeTask]) -> list[Draft]:
        name = self.decoding.expect or ""
        values = [task.request.variables.get(name) for task in tasks]
        if all(value is None for value in values):
            known = ", ".join(tasks[0].request.variables)
            raise SpecError(f"no prompt has a variable {name!r}", where="decoding.expect", remedy=f"there are: {known}")
        texts = expected_texts(self.loaded.tokenizer, ["" if value is None else str(value) for value in values])
        return [Draft(task, text, list(text.token_ids)) for task, text in zip(tasks, texts, strict=True)]

    def _groups(self, drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
        """Texts that share a pass, the longest first, so that little of it is padding."""
        waiting = sorted(drafts, key=lambda draft: -len(draft.tokens_to_read))
        while waiting:
            count = max(1, min(self.slots, PASS_TOKENS // len(waiting[0].tokens_to_read)))
            yield waiting[:count]
            del waiting[:count]

    # --- one pass -----------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _pass(self, group: list[Draft]) -> list[StateRows | None]:
        """Check the candidates of each text; returns the states of those that are finished now."""
        texts = [draft.tokens_to_read for draft in group]
        hidden = self._read(texts)
        starts = [len(d.task.request.prompt_token_ids) - 1 + len(d.token_ids) for d in group]
        asked = [
            hidden["final_norm"][row, start : len(text)]
            for row, (start, text) in enumerate(zip(starts, texts, strict=True))
        ]
        choices = self._choices(torch.cat(asked))
        begin, states = 0, []
        for row, (draft, rows) in enumerate(zip(group, asked, strict=True)):
            draft.passes += 1
            self._accept(draft, choices, range(begin, begin + len(rows)), rows)
            begin += len(rows)
            states.append(self._states(draft, {site: hidden[site][row] for site in self._sites}))
        return states

    def _read(self, texts: list[list[int]]) -> dict[str, torch.Tensor]:
        """The states [batch, tokens, width] of the wanted sites, and of `final_norm`."""
        token_ids = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
        for row, text in enumerate(texts):
            token_ids[row, : len(text)] = torch.tensor(text)
        hidden: dict[str, torch.Tensor] = {}

        def keep(site: str, states: torch.Tensor) -> None:
            # Some models go on writing into what leaves a block.
            hidden[site] = states if site == "final_norm" else states.clone()

        with reading(self.loaded.layout, self._sites, keep), changing_shapes(self.loaded.device):
            self.loaded.layout.base(input_ids=token_ids.to(self.loaded.device), use_cache=False)
        self.forward_calls += 1
        return hidden

    def _choices(self, states: torch.Tensor) -> _Choices:
        """The most likely tokens after `states` [n, width], and what is asked about their distributions."""
        tokens, best_logits, logprobs, entropies = [], [], [], []
        most = _LOGITS_AT_ONCE.get(states.device.type, _LOGITS_AT_ONCE_ELSEWHERE)
        for chunk in torch.split(states, max(1, most // self.loaded.vocab_size)):
            logits = self._head(chunk.to(self._head.weight.device)).float()
            best, token = logits.max(-1)
            tokens += token.tolist()
            best_logits += best.tolist()
            if self.decoding.logprobs or self.decoding.entropy or self._pooled_by_entropy:
                logprob = logits.log_softmax(-1)
                logprobs += logprob.gather(-1, token[:, None])[:, 0].tolist()
                entropies += (-(logprob.exp() * logprob.clamp(min=-1e4)).sum(-1)).tolist()
        return _Choices(tokens, best_logits, logprobs, entropies)

    def _accept(self, draft: Draft, choices: _Choices, places: range, states: torch.Tensor) -> None:
        """Take the model's choices as far as they follow from the candidates, and the one that does not.

        Args:
            places: of this text among the choices.
            states: from which these were made, [len(places), width].
        """
        candidates, before = draft.candidates, len(draft.token_ids)
        for step, place in enumerate(places):
            token = choices.tokens[place]
            draft.token_ids.append(token)
            if choices.entropies:
                draft.logprobs.append(choices.logprobs[place])
                draft.entropies.append(choices.entropies[place])
            # A NaN and an infinite logit both show in the maximum.
            draft.problem = "" if isfinite(choices.logits[place]) else NONFINITE
            draft.finish_reason = self._finish_reason(draft)
            if draft.finish_reason or step == len(candidates) or token != candidates[step]:
                break
        step = len(draft.token_ids) - before - 1
        as_expected = token == candidates[step] if step < len(candidates) else bool(draft.finish_reason)
        if not as_expected:
            draft.misses += 1
            draft.ties += self._is_tie(states[step])
        if not draft.finish_reason:
            draft.candidates, draft.place = continuation(
                draft.expected, draft.token_ids, draft.place + step, self.loaded.tokenizer
            )

    def _is_tie(self, state: torch.Tensor) -> bool:
        """Whether the two most likely tokens after this state [width] are within rounding of each other."""
        first, second = self._head(state.to(self._head.weight.device)).float().topk(2).values.tolist()
        return bool(first - second < _TIE[self.loaded.dtype] * max(1.0, abs(first)))

    def _finish_reason(self, draft: Draft) -> str:
        if draft.problem:
            return "failed"
        if draft.token_ids[-1] in self.loaded.eos_token_ids:
            return "stop"
        return "length" if len(draft.token_ids) >= draft.task.max_new_tokens else ""

    def _states(self, draft: Draft, hidden: dict[str, torch.Tensor]) -> StateRows | None:
        if self.capture is None or draft.problem or not draft.finish_reason:
            return None
        return rows_of_text(
            _written(draft), self.capture.states, {s: hidden[s] for s in self.capture.sites}, self.dtype
        )

    # --- what verification gives up ------------------------------------------------------------------------------

    def _decode(
        self, drafts: list[Draft], before_pass: Callable[[], None]
    ) -> Iterator[tuple[TextInFlight, StateRows | None]]:
        """Go on token by token from what is written, then read the states of these texts in passes of their own."""
        if not drafts:
            return
        draft_of = {(d.task.request.index, d.task.sample): d for d in drafts}
        decoder = Decoder(
            self.loaded,
            self.decoding.model_copy(update={"entropy": self.decoding.entropy or self._pooled_by_entropy}),
            0,  # Greedy decoding draws nothing.
            slots=min(self.slots, len(drafts)),
            columns=max(len(d.task.request.prompt_token_ids) + d.task.max_new_tokens for d in drafts),
        )
        before = {place: len(draft.token_ids) for place, draft in draft_of.items()}
        for text in chain.from_iterable(decoder.run([_rest(draft) for draft in drafts], before_pass)):
            draft = draft_of[text.task.request.index, text.task.sample]
            draft.token_ids += text.token_ids
            draft.logprobs += text.logprobs
            draft.entropies += text.entropies
            draft.finish_reason, draft.problem = text.finish_reason, text.problem
        self.forward_calls += decoder.forward_calls
        states = self._replayed([draft for draft in drafts if not draft.problem])
        for place, draft in draft_of.items():
            yield draft.text(decoded=len(draft.token_ids) - before[place]), states.get(place)

    def _replayed(self, drafts: list[Draft]) -> dict[tuple[int, int], StateRows]:
        if self.capture is None:
            return {}
        texts = [_written(draft) for draft in drafts]
        states: StatesSpec = self.capture.states
        tokens = min(PASS_TOKENS, self.slots * max((text.length for text in texts), default=1))
        rows = replay(self.loaded.layout, texts, states, self.capture.sites, dtype=self.dtype, tokens_per_pass=tokens)
        return {(r.index, r.sample): r for r in rows}


def can_verify(loaded: LoadedModel) -> bool:
    """Whether the logits are the output embeddings of `final_norm` and nothing else (some models scale or cap them),
    and passes over texts of any lengths."""
    head = loaded.model.get_output_embeddings()
    if head is None or not hasattr(head, "weight") or loaded.layout.longrope_length is not None:
        return False
    token_ids = torch.arange(1, 6, device=loaded.device).remainder(loaded.vocab_size).unsqueeze(0)
    seen: dict[str, torch.Tensor] = {}
    with (
        torch.inference_mode(),
        reading(loaded.layout, ("final_norm",), lambda site, states: seen.update({site: states})),
    ):
        logits = loaded.model(input_ids=token_ids, use_cache=False).logits
        made = head(seen["final_norm"].to(head.weight.device))
    return made.shape == logits.shape and torch.allclose(made.float(), logits.float(), rtol=1e-3, atol=1e-3)


def _rest(draft: Draft) -> DecodeTask:
    """What is left to write, as a task of the decode loop whose prompt is all that is there."""
    request = draft.task.request
    prompt = [*request.prompt_token_ids, *draft.token_ids]
    return DecodeTask(
        replace(request, prompt_token_ids=prompt), draft.task.sample, draft.task.max_new_tokens - len(draft.token_ids)
    )


def _written(draft: Draft) -> WrittenText:
    request, entropies = draft.task.request, draft.entropies or None
    return WrittenText(request.index, draft.task.sample, request.prompt_token_ids, draft.token_ids, entropies)
