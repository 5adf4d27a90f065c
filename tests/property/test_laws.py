"""Laws that hold for any input: of plans, splits, draws, weights and the validator of pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from latentext.dataset.splits import split_groups
from latentext.engines.sampling import draw, filtered_probabilities, uniform
from latentext.plan import Shards, make_plan
from latentext.spec import Decoding, Spec, SplitSpec
from latentext.studies.align import tilt
from latentext.studies.align.bank import Bank
from latentext.studies.align.drawing import draw as draw_samples
from latentext.studies.pairs.validation import validate_pairs

_finite = st.floats(-30, 30, width=32)
_logits = arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=_finite)
_rewards = arrays.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 8)), elements=st.floats(-1e3, 1e3))


# Plans and shards.


@given(texts=st.lists(st.text(max_size=6), min_size=1, max_size=12), size=st.integers(1, 5), limit=st.integers(1, 12))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_plan_is_the_same_from_any_shard_and_any_two_requests_differ_in_key(
    texts: list[str], size: int, limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    texts = ["at least one", *texts]
    prompts = {"list": texts, "limit": limit, "use_chat_template": False}
    folder = tmp_path_factory.mktemp("plan") / "plan"
    spec = Spec(prompts=prompts)
    plan = make_plan(spec, tokenizer=None, model_id="m", directory=folder, shard_size=size)
    forwards = [plan.requests(shard) for shard in plan.shards]
    backwards = [plan.requests(shard) for shard in reversed(list(plan.shards))][::-1]
    assert forwards == backwards
    requests = [request for made, _ in forwards for request in made]
    failures = [failure for _, failed in forwards for failure in failed]
    indices = sorted([r.index for r in requests] + [f.index for f in failures])
    assert indices == list(range(min(limit, len(texts))))
    assert len({request.key for request in requests}) == len(requests)


@given(st.integers(0, 10**15), st.integers(1, 10**6), st.data())
def test_every_request_is_in_one_shard(count: int, size: int, data: st.DataObject) -> None:
    shards = Shards([(0, count)] if count else [], size)
    assert len(shards) == -(-count // size)
    if count:
        number = data.draw(st.integers(0, len(shards) - 1))
        assert (shards[number].start, shards[number].stop) == (number * size, min((number + 1) * size, count))


# Splits.


@given(st.lists(st.binary(min_size=1, max_size=2), min_size=12, max_size=60), st.integers(0, 9))
def test_no_group_is_in_two_splits_and_no_row_in_none(groups: list[bytes], seed: int) -> None:
    groups += [b"one", b"two", b"three", b"four", b"five", b"six"]  # Enough groups for every side.
    rows = split_groups(groups, SplitSpec(val=0.2, test=0.2, seed=seed))
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(groups)))
    sides = [{groups[row] for row in side} for side in rows.values()]
    assert sum(map(len, sides)) == len(set(groups))
    shuffled = split_groups(groups[::-1], SplitSpec(val=0.2, test=0.2, seed=seed))
    assert [{groups[::-1][row] for row in side} for side in shuffled.values()] == sides


# Sampling.


@given(_logits, st.floats(0.05, 5), st.none() | st.integers(1, 50), st.floats(0.01, 1), st.floats(0, 1))
def test_filters_keep_a_distribution_with_its_best_token(
    logits: np.ndarray, temperature: float, top_k: int | None, top_p: float, min_p: float
) -> None:
    decoding = Decoding(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    probabilities = filtered_probabilities(torch.from_numpy(logits), decoding)
    assert torch.allclose(probabilities.sum(-1), torch.ones(len(logits), dtype=probabilities.dtype))
    assert (probabilities >= 0).all()
    assert (probabilities.gather(-1, probabilities.argmax(-1, keepdim=True)) > 0).all()
    assert (probabilities[range(len(logits)), logits.argmax(-1)] > 0).all()
    if top_k is not None:
        assert ((probabilities > 0).sum(-1) <= top_k).all()


@given(_logits, st.data())
def test_a_draw_never_gives_a_token_without_probability(logits: np.ndarray, data: st.DataObject) -> None:
    probabilities = filtered_probabilities(torch.from_numpy(logits), Decoding(temperature=1.0, top_k=3))
    edge = st.sampled_from([0.0, 1 - 2**-53]) | st.floats(0, 1 - 2**-53)
    uniforms = torch.tensor([data.draw(edge) for _ in range(len(logits))], dtype=torch.float64)
    tokens = draw(probabilities, uniforms)
    assert (probabilities.gather(-1, tokens.reshape(-1, 1)) > 0).all()


@given(st.integers(), st.text(max_size=40), st.integers(0, 2**31), st.integers(0, 2**31))
def test_a_uniform_number_is_one(seed: int, key: str, sample: int, step: int) -> None:
    number = uniform(seed, key.encode("utf-8", "replace").decode(), sample, step)
    assert 0 <= number < 1
    assert number == uniform(seed, key.encode("utf-8", "replace").decode(), sample, step)


# Weights.


def _bank(rewards: np.ndarray) -> Bank:
    return Bank(rewards[:, :, None], ("r",), tuple(f"{n}" for n in range(len(rewards))))


@given(_rewards, st.floats(-50, 50))
def test_weights_are_a_distribution_in_the_order_of_the_rewards(rewards: np.ndarray, lam: float) -> None:
    weights = np.exp(tilt(_bank(rewards), [lam]).log_weights)
    assert np.allclose(weights.sum(1), 1)
    for row, reward in zip(weights, np.sign(lam) * rewards, strict=True):
        assert (np.diff(row[np.argsort(reward)]) >= -1e-12).all()


@given(_rewards, st.floats(-5, 5), st.integers(0, 99))
def test_draws_without_replacement_are_different_samples(rewards: np.ndarray, lam: float, seed: int) -> None:
    bank = _bank(rewards)
    drawn = draw_samples(bank, tilt(bank, [lam]), rewards.shape[1], replace=False, seed=seed)
    assert (np.sort(drawn, 1) == np.arange(rewards.shape[1])).all()


# The validator.


@given(st.lists(st.tuples(st.text(max_size=8) | st.none() | st.integers(), st.text(max_size=8)), max_size=8))
@settings(max_examples=20)
def test_any_pair_gets_one_verdict_in_its_place(pairs: list[tuple[object, object]]) -> None:
    from latentext.studies.pairs.tokenizer import load_tokenizers

    results = list(validate_pairs(pairs, load_tokenizers(["tiny"])))
    assert len(results) == len(pairs)
    for (first, second), result in zip(pairs, results, strict=True):
        assert result.valid == (result.reason is None)
        if not isinstance(first, str) or not first.strip() or first == second:
            assert not result.valid
        if result.valid:
            assert all(check.lengths[0] == check.lengths[1] and len(check.positions) == 1 for check in result.checks)
