"""What a request to a server is called: by all that goes over the wire, and the dataset that asks.

The journal keeps answers under this name, and the ``Idempotency-Key`` and the custom_id of a batch are made of it. So
an answer only comes back to the request that asked for it: another seed, another parameter or another dataset has
other names, in a journal that several share and at a server that answers a key it knows with what it said before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from latentext.engines.server.journal import Journal
from latentext.plan.keys import canonical_json

_DIGITS = 40
"""Of a name; request keys have 32."""


def request_name(dataset: str, key: str, sample: int, body: Mapping[str, Any]) -> str:
    """The name of one request: 40 hex digits.

    Args:
        dataset: the name of the dataset that it is for (`latentext.run.dataset_name`).
        key, sample: of the text. Where a request has no seed, equal prompts and samples have equal bodies.
        body: as it is sent.

    Example:
        >>> first, second = (request_name("d", "k", 0, {"seed": seed}) for seed in (1, 2))
        >>> first == request_name("d", "k", 0, {"seed": 1}) != second
        True
    """
    facts = {"version": 1, "dataset": dataset, "key": key, "sample": sample, "body": dict(body)}
    return hashlib.sha256(b"latentext request 1\n" + canonical_json(facts)).hexdigest()[:_DIGITS]


def sending_name(name: str, attempt: int) -> str:
    """The name of one attempt: the same while nobody knows whether it was answered, another once it was.

    Example:
        >>> sending_name("a1", 2)
        'a1-2'
    """
    return f"{name}-{attempt}"


def earlier_answers(journal: Journal, names: Mapping[tuple[str, int], str]) -> dict[str, bytes]:
    """Answers that version 0.1.0 kept under request key and sample alone, by the names that they have now.

    Only for the journal in a dataset's own directory: elsewhere nobody knows whose they are.

    Args:
        names: (request key, sample) → the request's name.
    """
    return {names[place]: raw for place, raw in journal.answers(names).items()}


def count_earlier(journal: Journal) -> int:
    """How many answers of version 0.1.0 a journal holds."""
    return int(journal.read("SELECT COUNT(*) FROM answers WHERE LENGTH(key) < ?", (_DIGITS,))[0][0])
