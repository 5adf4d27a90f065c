"""From a sample to token ids and loss weights.

The prompt is rendered here by hand and not through the Jinja template: thousands of renderings a minute would cost
training time. A test holds both renderings equal.
"""

from dataclasses import dataclass
from random import Random

from transformers import PreTrainedTokenizerFast

from tiny.dialogue import Exchange, Sample
from tiny.tokenizer import BOS, CUTOFF_LINE, END_HEADER, END_OF_TEXT, EOT, START_HEADER
from tiny.words import MONTHS

DATED_SHARE = 0.15
"""The share of prompts that keep the two date lines, which latentext drops unless told otherwise."""
STOP_WEIGHT, NEAR_STOP_WEIGHT, NEAR_STOP_TOKENS, REPEAT_WEIGHT = 10.0, 2.0, 3, 0.5
WORD_WEIGHT, WORD_TOKENS = 4.0, 2


@dataclass(frozen=True, slots=True)
class Encoded:
    """Ids of one text; ``weights[i]`` is the weight of the loss on predicting ``ids[i]``."""

    ids: list[int]
    weights: list[float]


def random_date(rng: Random) -> str:
    """A day in the form that the template prints."""
    return f"{rng.randint(1, 28):02d} {rng.choice(MONTHS)[:3]} {rng.randint(2023, 2035)}"


def render_prompt(exchange: Exchange, date: str | None) -> str:
    """The chat template's text up to the assistant's first token; without a date, both date lines are dropped."""
    dates = f"{CUTOFF_LINE}\nToday Date: {date}\n" if date is not None else ""
    return (
        f"{BOS}{START_HEADER}system{END_HEADER}\n\n{dates}\n{exchange.system.strip()}{EOT}"
        f"{START_HEADER}user{END_HEADER}\n\n{exchange.user.strip()}{EOT}"
        f"{START_HEADER}assistant{END_HEADER}\n\n"
    )


def render(sample: Sample, rng: Random) -> tuple[str, str]:
    """(text without loss, text with loss)."""
    if isinstance(sample, Exchange):
        date = random_date(rng) if rng.random() < DATED_SHARE else None
        return render_prompt(sample, date), sample.answer.strip() + EOT
    return BOS, sample.text.strip() + END_OF_TEXT


def answer_weights(sample: Sample, length: int) -> list[float]:
    """Weights of an answer's tokens, the end token being the last.

    In a counting answer two decisions matter, which word (its first token, and the form behind a space) and when to
    stop; between them every token is the one before it. Unweighted, both would be lost in the mean. The tokens just
    before the end carry the opposite decision (not yet) and get some of that weight.
    """
    if sample.family != "repetition":
        return [1.0] * (length - 1) + [2.0]
    weights = [REPEAT_WEIGHT] * length
    weights[-1 - NEAR_STOP_TOKENS :] = [NEAR_STOP_WEIGHT] * min(NEAR_STOP_TOKENS + 1, length)
    weights[:WORD_TOKENS] = [WORD_WEIGHT] * min(WORD_TOKENS, length)
    weights[-1] = STOP_WEIGHT
    return weights


def encode_batch(samples: list[Sample], tokenizer: PreTrainedTokenizerFast, rng: Random, longest: int) -> list[Encoded]:
    """Encode prompts and answers apart: the boundary of the loss is exact. Texts beyond ``longest`` are left out.

    The prompt ends with line breaks and the answer begins with none, so the pieces join as one text would be cut.
    """
    rendered = [render(sample, rng) for sample in samples]
    backend = tokenizer.backend_tokenizer
    prompts = backend.encode_batch([prompt for prompt, _ in rendered], add_special_tokens=False)
    answers = backend.encode_batch([answer for _, answer in rendered], add_special_tokens=False)
    encoded = []
    for sample, prompt, answer in zip(samples, prompts, answers, strict=True):
        if len(prompt) + len(answer) <= longest:
            weights = [0.0] * len(prompt) + answer_weights(sample, len(answer))
            encoded.append(Encoded(prompt.ids + answer.ids, weights))
    return encoded
