"""In flight, replayed and decoded step by step, every site holds what transformers reports under its index."""

from __future__ import annotations

import pytest
import torch
from tests.engines.families import FAMILIES, loaded_family, ragged_requests
from tests.engines.reference import plain_forward, stepwise_hidden_states
from tests.states.comparing import assert_same_states

from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers import decode
from latentext.engines.transformers.engine import TransformersEngine
from latentext.spec import Decoding, StatesSpec
from latentext.states.layout import SitesReached, reading
from latentext.states.replay import WrittenText, replay
from latentext.states.sites import all_sites, index_of

EVERY_SITE = StatesSpec(sites=("all",), positions="all")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_site_is_the_same_in_flight_replayed_and_step_by_step(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = loaded_family(family)
    sites = all_sites(loaded.layout.num_blocks)
    requests = ragged_requests(11)
    monkeypatch.setattr(decode, "SHIFT_ROOM", 2)
    results = TransformersEngine(loaded).generate(
        requests, range(1), Decoding(max_new_tokens=16), 0, capture=Capture(EVERY_SITE, sites), slots=4
    )
    written = {r.completion.index: r for r in results if isinstance(r, Generated)}
    texts = [WrittenText(r.index, 0, r.prompt_token_ids, written[r.index].completion.token_ids) for r in requests]
    replayed = {s.index: s for s in replay(loaded.layout, texts, EVERY_SITE, sites, dtype=torch.float32)}
    for text in texts:
        prompt, generated = list(text.prompt_token_ids), list(text.token_ids)
        states = written[text.index].states
        assert states is not None
        plain = plain_forward(loaded, [*prompt, *generated]).hidden_states
        steps = stepwise_hidden_states(loaded, prompt, generated)
        for site in sites:
            k = index_of(site, loaded.layout.num_blocks)
            assert k is not None
            rows = states.tensors[site]
            assert_same_states(rows, plain[k][0, :-1], f"{site} in flight")
            assert_same_states(rows[len(prompt) - 1 :], steps[k], f"{site} step by step")
            assert_same_states(replayed[text.index].tensors[site], rows, f"{site} replayed")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_blocks_of_every_family_are_found_by_structure(family: str) -> None:
    layout = loaded_family(family).layout
    assert layout.blocks is not None
    assert layout.num_blocks == len(layout.blocks) == loaded_family(family).model.config.num_hidden_layers


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_ends_at_the_deepest_wanted_site(family: str) -> None:
    layout = loaded_family(family).layout
    assert layout.blocks is not None
    seen, passed = {}, []
    blocks = [b.register_forward_hook(lambda _m, _a, _o, i=i: passed.append(i)) for i, b in enumerate(layout.blocks)]
    wanted = ("resid_post.1", "embed")
    with pytest.raises(SitesReached), torch.inference_mode(), reading(layout, wanted, seen.__setitem__, stop=True):
        layout.base(input_ids=torch.tensor([[1, 2, 3]]), use_cache=False)
    for hook in blocks:
        hook.remove()
    assert set(seen) == set(wanted)
    assert set(passed) <= {0, 1}, "block 2 must not be computed"
