"""Poolings equal a direct computation from the rows, in flight and replayed."""

from __future__ import annotations

import pytest
import torch
from tests.engines.families import loaded_family, loaded_model, ragged_requests, random_model
from tests.states.captured import replay_states, write_with_states
from tests.states.comparing import assert_same_states

from latentext.errors import SpecError
from latentext.request import StateRows
from latentext.spec import Decoding, Pool, StatesSpec
from latentext.states.pooling import SlotPool, pool_rows

POOLS: tuple[Pool, ...] = ("last", "mean", "max", "first", "entropy_mean")


def _directly(pool: Pool, rows: torch.Tensor, entropies: list[float]) -> torch.Tensor:
    """DESIGN: `mean` and `max` over P … P+T-2 (row 0 excluded); with one row all are that row."""
    rows = rows.double()
    if pool == "first" or len(rows) == 1:
        return rows[0]
    if pool == "last":
        return rows[-1]
    later = rows[1:]
    if pool == "max":
        return later.max(0).values
    weights = torch.tensor(entropies[1:], dtype=torch.float64) if pool == "entropy_mean" else torch.ones(len(later))
    return sum(w * row for w, row in zip(weights, later, strict=True)) / weights.sum()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("max_new_tokens", [1, 2, 13])
def test_poolings_equal_a_direct_computation(family: str, max_new_tokens: int) -> None:
    loaded, requests = loaded_family(family), ragged_requests(9)
    decoding = Decoding(max_new_tokens=max_new_tokens, entropy=True)
    pooled_states = StatesSpec(pool=POOLS)
    completions, rows = write_with_states(loaded, requests, StatesSpec(), decoding=decoding)
    again, pooled = write_with_states(loaded, requests, pooled_states, decoding=decoding)
    replayed = replay_states(loaded, requests, completions, pooled_states)
    for r in requests:
        completion = completions[r.index]
        assert again[r.index].token_ids == completion.token_ids
        assert completion.entropies is not None
        last = len(r.prompt_token_ids) + len(completion.token_ids) - 2
        for name, captured in (("in flight", pooled[r.index]), ("replayed", replayed[r.index])):
            assert captured.position.tolist() == [last]
            assert list(captured.tensors) == [f"{site}:{pool}" for site in ("final_norm", "embed") for pool in POOLS]
            for pool in POOLS:
                expected = _directly(pool, rows[r.index].tensors["final_norm"], list(completion.entropies))
                assert_same_states(captured.tensors[f"final_norm:{pool}"], expected[None], f"{pool} {name}")


def test_entropy_weights_are_there_when_only_the_pooling_needs_them() -> None:
    loaded, requests = loaded_family("llama"), ragged_requests(4)
    states = StatesSpec(pool=("entropy_mean", "mean"))
    asked, with_entropies = write_with_states(loaded, requests, states)
    silent, without = write_with_states(loaded, requests, states, decoding=Decoding(max_new_tokens=14))
    for index in asked:
        assert silent[index].entropies is None
        for name, tensor in with_entropies[index].tensors.items():
            assert torch.equal(tensor, without[index].tensors[name])
    assert any(not torch.equal(*_weighted_and_plain(captured)) for captured in without.values())


def test_a_replay_without_entropies_is_refused_where_they_are_needed() -> None:
    loaded, requests = loaded_family("llama"), ragged_requests(2)
    completions, _ = write_with_states(loaded, requests, StatesSpec(), decoding=Decoding(max_new_tokens=5))
    with pytest.raises(SpecError, match=r"decoding\.entropy"):
        replay_states(loaded, requests, completions, StatesSpec(pool="entropy_mean"))


def test_no_caller_gets_the_plain_mean_in_place_of_the_weighted_one() -> None:
    for length in (1, 3):
        with pytest.raises(SpecError, match="no entropies to weigh"):
            pool_rows("entropy_mean", torch.ones(length, 2), None)
    pooled = SlotPool(("entropy_mean",), 1, 2, torch.device("cpu"))
    slots = torch.tensor([0])
    pooled.begin(slots, torch.ones(1, 2))
    with pytest.raises(SpecError, match="no entropies to weigh"):
        pooled.add(slots, torch.ones(1, 2), None)


def _weighted_and_plain(captured: StateRows) -> tuple[torch.Tensor, torch.Tensor]:
    return captured.tensors["final_norm:entropy_mean"], captured.tensors["final_norm:mean"]


def test_a_model_that_is_certain_everywhere_gives_the_plain_mean() -> None:
    model = random_model("llama")
    with torch.no_grad():
        model.lm_head.weight.mul_(1e8)
    loaded = loaded_model(model)
    states = StatesSpec(pool=("entropy_mean", "mean"))
    _, rows = write_with_states(loaded, ragged_requests(3), states)
    for captured in rows.values():
        weighted, mean = _weighted_and_plain(captured)
        assert_same_states(weighted, mean, "entropy_mean")


def test_sums_are_accumulated_in_float32_for_a_half_precision_model() -> None:
    loaded, requests = loaded_model(random_model("llama", dtype=torch.bfloat16)), ragged_requests(3)
    decoding = Decoding(min_new_tokens=40, max_new_tokens=40)
    _, rows = write_with_states(loaded, requests, StatesSpec(), decoding=decoding)
    _, pooled = write_with_states(loaded, requests, StatesSpec(pool="mean", dtype="float32"), decoding=decoding)
    for index, captured in pooled.items():
        expected = rows[index].tensors["final_norm"][1:].double().mean(0)
        assert_same_states(captured.tensors["final_norm:mean"], expected[None], "mean")
