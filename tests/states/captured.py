"""Texts with their states, in flight and replayed, from one call."""

from __future__ import annotations

import torch

from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.engine import TransformersEngine, state_dtype
from latentext.engines.transformers.loaded import LoadedModel
from latentext.request import Completion, Request, StateRows
from latentext.spec import Decoding, StatesSpec
from latentext.states.replay import WrittenText, replay

DECODING = Decoding(max_new_tokens=14, entropy=True)


def write_with_states(
    loaded: LoadedModel,
    requests: list[Request],
    states: StatesSpec,
    sites: tuple[str, ...] = ("final_norm", "embed"),
    *,
    slots: int = 3,
    decoding: Decoding = DECODING,
) -> tuple[dict[int, Completion], dict[int, StateRows]]:
    """Texts and states in flight, by request index."""
    engine = TransformersEngine(loaded)
    results = list(engine.generate(requests, range(1), decoding, 0, capture=Capture(states, sites), slots=slots))
    assert len(results) == len(requests)
    completions, rows = {}, {}
    for result in results:
        assert isinstance(result, Generated)
        assert result.states is not None
        completions[result.completion.index] = result.completion
        rows[result.completion.index] = result.states
    return completions, rows


def replay_states(
    loaded: LoadedModel,
    requests: list[Request],
    completions: dict[int, Completion],
    states: StatesSpec,
    sites: tuple[str, ...] = ("final_norm", "embed"),
    *,
    tokens_per_pass: int = 60,
) -> dict[int, StateRows]:
    """States of written texts from their ids, by request index."""
    texts = [
        WrittenText(r.index, 0, r.prompt_token_ids, completions[r.index].token_ids, completions[r.index].entropies)
        for r in requests
    ]
    dtype: torch.dtype = state_dtype(states.dtype, loaded.dtype)
    rows = replay(loaded.layout, texts, states, sites, dtype=dtype, tokens_per_pass=tokens_per_pass)
    return {r.index: r for r in rows}
