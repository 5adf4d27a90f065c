"""What a run of proposals will cost, before anything is spent.

Tokens are estimated at four characters each, which holds for English and the vocabularies of large models within a few
per cent; a provider's own count decides. Of cached prompt tokens, which cost less, nothing is assumed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from latentext.engines.server.prices import Price
from latentext.request import Message, Usage
from latentext.spec import Decoding
from latentext.studies.pairs import PairTask
from latentext.studies.pairs.proposing import proposal_messages
from latentext.studies.pairs.rounds import LESSONS_A_REQUEST, USED_WORDS_A_REQUEST

CHARACTERS_A_TOKEN = 4
TOKENS_A_MESSAGE = 4
YIELDS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""What is shown where no yield is given."""

_SAMPLED_REQUESTS = 20
_LESSON = "'example' and 'something' are not one token each in SOLAR: the sentences have 26 and 27 tokens"
_USED_WORD = "example"
"""As long as lessons and words usually are."""


@dataclass(frozen=True, slots=True)
class Projection:
    """One row of the table: a yield, and what it takes then.

    Attributes:
        cost: US dollars through the real-time API; None where no price is known.
        batch_cost: the same through the Batch API.
        most: what real time may cost at most: every byte a token, every reply as long as it may be.
    """

    expected_yield: float
    requests: int
    prompt_tokens: int
    reply_tokens: int
    cost: Decimal | None
    batch_cost: Decimal | None
    most: Decimal | None


def project(
    task: PairTask,
    target: int,
    expected_yield: float,
    decoding: Decoding,
    *,
    pairs_each: int | None = None,
    price: Price | None = None,
    seed: int = 0,
) -> Projection:
    """What it takes to get so many scenarios.

    Args:
        expected_yield: valid new pairs of those asked for.
        pairs_each: pairs asked for in a request; the task's ``batch_size`` by default.

    Example:
        >>> from latentext.studies.pairs import load_task
        >>> project(load_task("refusal"), 1500, 0.3, Decoding(max_new_tokens=2048)).requests
        500
    """
    pairs_each = pairs_each or task.batch_size
    requests = math.ceil(target / (expected_yield * pairs_each))
    sampled = [_chat(task, number, seed, pairs_each) for number in range(min(requests, _SAMPLED_REQUESTS))]
    prompt = math.ceil(sum(map(_tokens, sampled)) / len(sampled)) * requests
    reply = min(pairs_each * _pair_tokens(task), decoding.max_new_tokens) * requests
    if price is None:
        return Projection(expected_yield, requests, prompt, reply, None, None, None)
    longest = max(sum(len(message["content"].encode()) for message in chat) for chat in sampled)
    usage = Usage(prompt, reply)
    return Projection(
        expected_yield,
        requests,
        prompt,
        reply,
        price.cost(usage),
        price.cost(usage, batch=True),
        price.worst_cost(longest, decoding.max_new_tokens) * requests,
    )


def _chat(task: PairTask, number: int, seed: int, pairs_each: int) -> Sequence[Message]:
    return proposal_messages(
        task,
        number,
        seed=seed,
        pairs=pairs_each,
        lessons=[_LESSON] * LESSONS_A_REQUEST,
        used_words=[_USED_WORD] * USED_WORDS_A_REQUEST,
    )


def _tokens(chat: Sequence[Message]) -> int:
    return sum(math.ceil(len(message["content"]) / CHARACTERS_A_TOKEN) + TOKENS_A_MESSAGE for message in chat)


def _pair_tokens(task: PairTask) -> int:
    """Tokens of a pair in a reply, as long as the task's examples are on the average."""
    examples = [json.dumps(example, ensure_ascii=False) for example in task.examples]
    if not examples:
        examples = [json.dumps(dict.fromkeys(task.sides, "a sentence of eight or so short words"))]
    return math.ceil(sum(map(len, examples)) / len(examples) / CHARACTERS_A_TOKEN) + 1
