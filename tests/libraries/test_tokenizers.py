"""The same rules are told alike whatever calls have left on a tokenizer, and in whatever order its JSON comes."""

from __future__ import annotations

import json
from typing import Any

from tests.engines.families import byte_tokenizer

from latentext.libraries.tokenizers import rules_of


class Reordered:
    """A tokenizer of a release that writes the keys of its JSON in another order."""

    def __init__(self, backend: Any):
        self._document = json.loads(backend.to_str())

    def to_str(self) -> str:
        return json.dumps(dict(sorted(self._document.items())))


def _backend(truncated: int | None) -> Any:
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(byte_tokenizer().backend_tokenizer.to_str())
    if truncated is not None:
        backend.enable_truncation(truncated)
        backend.enable_padding(pad_id=truncated)
    return backend


def test_truncation_and_padding_are_no_rules() -> None:
    assert rules_of(_backend(None)) == rules_of(_backend(7)) == rules_of(_backend(8))
    assert rules_of(Reordered(_backend(None))) == rules_of(Reordered(_backend(7)))


def test_every_other_key_is_a_rule_in_any_order() -> None:
    document = json.loads(_backend(7).to_str())
    kept = {key: value for key, value in document.items() if key not in ("version", "truncation", "padding")}
    assert len(kept) > 4
    assert json.loads("{" + rules_of(_backend(7))) == kept
    assert json.loads(rules_of(Reordered(_backend(7)))) == kept
