"""The decode loop writes what plain transformers writes, for every family of models."""

from __future__ import annotations

import pytest
from tests.engines.families import FAMILIES, loaded_family, ragged_requests
from tests.engines.reference import plain_generate

from latentext.engines.engine import Generated
from latentext.engines.transformers import decode
from latentext.engines.transformers.cache import SlabCache
from latentext.engines.transformers.engine import TransformersEngine
from latentext.spec import Decoding


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_in_flight_are_those_of_generate_one_by_one(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_family(family)
    requests = ragged_requests(28)
    happened = _record_row_moves(monkeypatch)
    monkeypatch.setattr(decode, "SHIFT_ROOM", 2)
    decoding = Decoding(max_new_tokens=24)
    results = list(TransformersEngine(loaded).generate(requests, range(1), decoding, seed=0, slots=3))
    written = {r.completion.index: r.completion for r in results if isinstance(r, Generated)}
    assert happened == {"move_rows", "shift_to_front"}
    assert len(written) == len(requests)
    for r in requests:
        expected = plain_generate(loaded, r, 24)
        assert written[r.index].token_ids == expected, f"request {r.index}"
        assert written[r.index].finish_reason == ("stop" if expected[-1] in loaded.eos_token_ids else "length")
    lengths = {len(c.token_ids) for c in written.values()}
    assert len(lengths) > 3, "the texts must be ragged for rows to be refilled at different times"


def _record_row_moves(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Which of the cache's two ways to move keys and values were used: a test without them would prove little."""
    happened: set[str] = set()
    for name in ("move_rows", "shift_to_front"):

        def recorded(
            self: SlabCache, *args: object, _name: str = name, _real: object = getattr(SlabCache, name)
        ) -> None:
            happened.add(_name)
            _real(self, *args)  # type: ignore[operator]

        monkeypatch.setattr(SlabCache, name, recorded)
    return happened
