"""What latentext uses of tokenizers beyond its documented interface: the order of keys in a tokenizer's JSON."""

from __future__ import annotations

import json
from typing import Any

_PASSING = {"version", "truncation", "padding"}
"""They stand first in the JSON. The last two are left there by calls and are no part of the tokenizer."""


def rules_of(backend: Any) -> str:
    """What a ``tokenizers.Tokenizer`` does to text, as JSON: the same for the same rules.

    The text is cut after the keys that do not count, which spares parsing megabytes of it each time a plan is opened.
    Where the keys come in another order it is parsed after all.
    """
    rules: str = backend.to_str()
    start = rules.find('"added_tokens":')
    if start > 1 and set(json.loads(rules[:start].rstrip().rstrip(",") + "}")) == _PASSING:
        return rules[start:]
    kept = {key: value for key, value in json.loads(rules).items() if key not in _PASSING}
    return json.dumps(kept, ensure_ascii=False)
