"""Filters are transformers' own warpers, draws follow the probabilities, and nothing else decides a draw."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from latentext.engines.sampling import draw, filtered_probabilities, sample, uniform
from latentext.spec import Decoding


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 1, 7, 1000])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.2, 1e-6])
@pytest.mark.parametrize("min_p", [0.0, 0.05, 1.0])
def test_filters_equal_those_of_transformers(temperature: float, top_k: int | None, top_p: float, min_p: float) -> None:
    logits = torch.randn(16, 200, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 3
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k is not None:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1.0:
        warpers.append(TopPLogitsWarper(top_p))
    if min_p > 0.0:
        warpers.append(MinPLogitsWarper(min_p))
    expected = warpers(torch.zeros(16, 1, dtype=torch.long), logits.clone()).softmax(-1)
    decoding = Decoding(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    torch.testing.assert_close(filtered_probabilities(logits, decoding), expected, rtol=1e-9, atol=1e-12)


def test_ties_at_the_edge_go_to_the_lower_ids() -> None:
    equal = torch.zeros(1, 10)
    by_count = filtered_probabilities(equal, Decoding(temperature=1.0, top_k=3))
    assert by_count[0].tolist() == pytest.approx([1 / 3] * 3 + [0] * 7)
    by_mass = filtered_probabilities(equal, Decoding(temperature=1.0, top_p=0.35))
    assert by_mass[0].tolist() == pytest.approx([1 / 4] * 4 + [0] * 6)
    one_above = torch.tensor([[0.0, 0.0, 0.0, 5.0, 0.0]])
    assert filtered_probabilities(one_above, Decoding(temperature=1.0, top_k=2)).nonzero()[:, 1].tolist() == [0, 3]


@pytest.mark.parametrize("top_k", [None, 1, 7, 199, 200, 1000])
@pytest.mark.parametrize(("top_p", "min_p"), [(1.0, 0.0), (0.8, 0.0), (1.0, 0.05)])
def test_a_sample_is_the_draw_from_the_whole_vocabulary(top_k: int | None, top_p: float, min_p: float) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(600, 200, generator=generator) * 3
    logits[200:400] = logits[200:400].round()  # Ties, at the edge of top-k too.
    logits[400:, torch.randperm(200, generator=generator)[:150]] = -torch.inf
    uniforms = torch.rand(600, generator=generator, dtype=torch.float64)
    decoding = Decoding(temperature=0.7, top_k=top_k, top_p=top_p, min_p=min_p)
    for rows in (slice(None), slice(0, 200), slice(400, None)):
        expected = draw(filtered_probabilities(logits[rows], decoding), uniforms[rows])
        assert torch.equal(sample(logits[rows], decoding, uniforms[rows]), expected)


def test_draws_follow_the_probabilities() -> None:
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(0))
    probabilities = filtered_probabilities(logits, Decoding(temperature=1.3))
    count = 20_000
    uniforms = torch.tensor([uniform(0, "a key", sample, 0) for sample in range(count)], dtype=torch.float64)
    drawn = draw(probabilities.expand(count, -1), uniforms)
    observed = drawn.bincount(minlength=12).numpy()
    assert chisquare(observed, probabilities[0].numpy() * count).pvalue > 0.01


def test_neighbouring_seeds_samples_and_steps_give_unrelated_numbers() -> None:
    numbers = torch.tensor(
        [[uniform(s, k, n, t) for t in range(500)] for s, k, n in [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]]
    )
    correlations = torch.corrcoef(numbers) - torch.eye(4)
    assert correlations.abs().max() < 0.15
    assert numbers.flatten().unique().numel() == numbers.numel()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, "", 0, 0), 0.16536366486378484),
        ((0, "key", 0, 0), 0.33001880152976215),
        ((7, "key", 31, 199), 0.1365351516773715),
    ],
)
def test_the_numbers_never_change(arguments: tuple[int, str, int, int], expected: float) -> None:
    """Golden values, computed with ``b2sum -l 64`` over the NUL-joined arguments; the top 53 bits as a fraction."""
    assert uniform(*arguments) == expected


@pytest.mark.parametrize("size", [3, 5_000])
def test_the_largest_uniform_still_draws_a_possible_token(size: int) -> None:
    for seed in range(40):
        logits = torch.randn(1, size, generator=torch.Generator().manual_seed(seed)) * 2
        probabilities = filtered_probabilities(logits, Decoding(temperature=1.0))
        probabilities[0, -1] = 0.0
        token = draw(probabilities, torch.tensor([1.0 - 2.0**-53], dtype=torch.float64))
        assert probabilities[0, token] > 0


def test_the_smallest_uniform_skips_tokens_of_no_probability() -> None:
    probabilities = torch.tensor([[0.0, 0.0, 0.25, 0.75]], dtype=torch.float64)
    assert draw(probabilities, torch.tensor([0.0], dtype=torch.float64)).item() == 2
