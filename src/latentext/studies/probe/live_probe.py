"""A probe that watches a text being written: what it predicts at every token, beside what came.

The prompt takes the same way as those of the dataset: the same chat template and system text, the same model and dtype,
the same site. Anything else would feed the probe states of a kind that it never saw.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentext.dataset.reader import Dataset
from latentext.dataset.targets import TokenRows
from latentext.engines.engine import Capture, Generated
from latentext.engines.opening import open_transformers
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import DatasetError, EngineError, PromptError, SpecError
from latentext.finish_reasons import is_whole
from latentext.models.resolve import model_identity
from latentext.plan.encoding import Prompt, PromptEncoder
from latentext.probes.collecting import TARGETS
from latentext.probes.metrics import LARGE
from latentext.probes.networks import Network
from latentext.probes.posing import read
from latentext.probes.ridge import Ridge
from latentext.probes.saved import ProbeFacts, check_fits, load_probe
from latentext.prompts.chat import ChatFormat
from latentext.prompts.conversations import open_conversations
from latentext.prompts.token_text import token_text
from latentext.request import Request
from latentext.run.provenance import read_provenance
from latentext.spec import PromptSpec, Spec, StatesSpec
from latentext.spec.files import resolve_inputs
from latentext.states.finite import nonfinite_states


@dataclass(frozen=True)
class LiveStep:
    """One generated token: what the probe predicted from the state that predicts it, and what was true.

    `actual` is None where the text was cut at the limit, so that its length is not known.
    """

    step: int
    token: str
    actual: float | None
    predicted: float

    @property
    def error(self) -> float | None:
        """Predicted minus actual."""
        return None if self.actual is None else self.predicted - self.actual

    @property
    def relative_error(self) -> float | None:
        """|error| / actual, where actual is above 5."""
        return None if self.actual is None or self.actual <= LARGE else abs(self.predicted - self.actual) / self.actual


@dataclass(frozen=True)
class LiveText:
    """A text that was written for a prompt, with the probe's predictions."""

    text: str
    finish_reason: str
    steps: tuple[LiveStep, ...]

    @property
    def mae(self) -> float | None:
        """Mean absolute error; None where the text was cut."""
        errors = [abs(step.error) for step in self.steps if step.error is not None]
        return float(np.mean(errors)) if errors else None


@dataclass(frozen=True)
class LiveProbe:
    """A saved probe and the model it was trained on."""

    spec: Spec
    probe: Ridge | Network
    facts: ProbeFacts
    engine: TransformersEngine

    def watch(self, prompt: str) -> LiveText:
        """Generate for a prompt and predict at every token.

        Raises:
            PromptError: the prompt is empty or too long, or the template refuses it.
        """
        request = self._request(prompt)
        capture = Capture(StatesSpec(sites=(self.facts.site,), dtype=self.facts.dtype), (self.facts.site,))
        made = next(self.engine.generate([request], range(1), self.spec.decoding, self.spec.seed, capture=capture))
        if not isinstance(made, Generated):
            raise PromptError(made.message, where="--try")
        if made.states is None:
            raise EngineError(f"the model gave no states at {self.facts.site}")
        if (failure := nonfinite_states(made.states)) is not None:
            raise PromptError(failure.message, where="--try")
        completion = made.completion
        output = self.probe.predict(made.states.tensors[self.facts.site].float().numpy())
        actual = None
        if is_whole(completion.finish_reason):
            actual = TARGETS[self.facts.target](_rows_of_one(len(request.prompt_token_ids), len(completion.token_ids)))
        predicted = read(self.facts.question, output).values
        steps = tuple(
            LiveStep(
                step,
                token_text(self.engine.tokenizer, token_id),
                None if actual is None else float(actual[step]),
                value,
            )
            for step, (token_id, value) in enumerate(zip(completion.token_ids, predicted.tolist(), strict=True))
        )
        return LiveText(completion.text, completion.finish_reason, steps)

    def _request(self, text: str) -> Request:
        """The prompt as a run would have made it, with a key of its own for seeded sampling."""
        spec = self.spec.prompts
        alone = PromptSpec(
            list=(text,),
            system=spec.system,
            use_chat_template=spec.use_chat_template,
            remove_date_lines=spec.remove_date_lines,
            add_generation_prompt=spec.add_generation_prompt,
            chat_format=spec.chat_format,
        )
        conversations = open_conversations(alone, self.spec.seed, Path())
        encoder = PromptEncoder(conversations, ChatFormat.from_spec(alone, self.spec.model.name), self.engine.tokenizer)
        prompt = next(iter(encoder.prompts(0, 1)))
        if not isinstance(prompt, Prompt):
            raise PromptError(prompt.message, where="--try")
        key = hashlib.sha256(prompt.text.encode()).hexdigest()
        return Request(0, key, {}, prompt.messages, prompt.text, prompt.token_ids)


def open_live(dataset: Dataset, path: Path) -> LiveProbe:
    """Load a saved probe and the model of its dataset, in the dtype that the dataset was made in.

    Raises:
        DatasetError: the probe is of another dataset, or answers once a text.
        SpecError: the model has other weights now.
    """
    probe, facts = load_probe(path)
    check_fits(facts, dataset)
    if facts.pool != "none":
        what = f"a probe of states pooled by {facts.pool} answers once per text"
        raise DatasetError(what, where=str(path), remedy="watch one of states of every token")
    if not facts.ending:
        raise DatasetError(
            f"a probe of {facts.target} answers once a text", where=str(path), remedy="watch one of remaining"
        )
    spec = resolve_inputs(dataset.spec, dataset.directory)
    provenance = read_provenance(dataset.directory)
    assert provenance is not None
    if provenance.identity["model"] != model_identity(spec.model):
        raise SpecError(
            f"the model {spec.model.name} has other weights now than when the probe was made",
            where=str(dataset.directory),
            remedy="make the dataset and the probe again",
        )
    model = spec.model.model_copy(update={"dtype": provenance.identity["model.dtype"]})
    return LiveProbe(spec, probe, facts, open_transformers(model, batch_tokens=provenance.engine.get("batch_tokens")))


def _rows_of_one(prompt_tokens: int, total_tokens: int) -> TokenRows:
    """The generated rows of one whole text."""
    prompt, total = np.full(total_tokens, prompt_tokens), np.full(total_tokens, total_tokens)
    return TokenRows(
        np.zeros(total_tokens, np.int64), np.arange(total_tokens), prompt, total, np.ones(total_tokens, bool)
    )
