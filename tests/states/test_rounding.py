"""The scale of a component says how large the sums were that its rounding error comes from."""

from __future__ import annotations

import pytest
import torch

from latentext.states.rounding import ROW_SHARE, TOLERANCE, ComponentScales, parts_of_scale, rows_beyond_rounding


def one_token(*values: float) -> torch.Tensor:
    return torch.tensor([[list(values)]])


def test_a_component_that_has_shrunk_keeps_the_scale_it_had() -> None:
    scales = ComponentScales([1])
    scales.at("embed", one_token(1, 1, 1, 1))
    scales.at("resid_post.0", one_token(1, 1, 700, 1))
    assert scales.at("resid_post.1", one_token(1, 1, 5, 1)).flatten().tolist() == [3, 3, 702, 3]
    # The norm halves each component, so the error of the third is half of what it was.
    assert scales.at("final_norm", one_token(0.5, 0.5, 2.5, 0.5)).flatten().tolist() == pytest.approx(
        [1.5, 1.5, 351, 1.5]
    )


def test_a_component_that_is_large_at_other_tokens_of_the_text_has_their_scale() -> None:
    states = torch.tensor([[[0.0, 2.0], [60.0, 2.0], [0.0, 2.0], [1e9, 1e9]], [[0.0, 2.0]] * 4])
    scale = ComponentScales([3, 4]).at("resid_post.0", states)
    assert scale[0, 0].tolist() == pytest.approx([1 + 60 / 3**0.5, 3])
    assert scale[1, 0].tolist() == [1, 3], "padding and other texts do not count"


def test_padding_that_is_not_a_number_does_not_count() -> None:
    states = torch.tensor([[[1.0, 2.0], [torch.nan, torch.nan]]])
    assert ComponentScales([1]).at("embed", states)[0, 0].tolist() == [2.5, 3.5]


def test_embeddings_of_another_width_than_the_blocks_leave_no_trace() -> None:
    scales = ComponentScales([1])
    scales.at("embed", one_token(100, 100))
    assert scales.at("resid_post.0", one_token(1, 1, 1, 1)).flatten().tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("parts", "beyond"),
    [
        ([0.9e-4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], False),
        ([1.1e-4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], True),
        ([0.3e-4] * 16, True),
        ([0.2e-4] * 16, False),
    ],
)
def test_one_component_far_off_and_all_a_little_off_are_both_beyond_rounding(parts: list[float], beyond: bool) -> None:
    assert (TOLERANCE[torch.float32], ROW_SHARE) == (1e-4, 0.25)
    assert rows_beyond_rounding(torch.tensor([parts]), torch.float32, torch.float32).tolist() == [beyond]


def test_states_kept_in_a_narrower_type_were_rounded_once_more() -> None:
    states = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    parts = parts_of_scale(states.to(torch.bfloat16), states, ComponentScales([50]).at("embed", states[None])[0])
    assert not rows_beyond_rounding(parts, torch.float32, torch.bfloat16).any()
    assert rows_beyond_rounding(parts, torch.float32, torch.float32).all()


def test_what_is_not_a_number_is_beyond_rounding() -> None:
    expected = torch.ones(2, 3)
    found = expected.clone()
    found[1, 2] = torch.nan
    parts = parts_of_scale(found, expected, torch.ones(2, 3))
    assert rows_beyond_rounding(parts, torch.bfloat16, torch.bfloat16).tolist() == [False, True]


def test_where_the_scale_is_zero_only_equal_states_are_right() -> None:
    zeros = torch.zeros(1, 2)
    assert not rows_beyond_rounding(parts_of_scale(zeros, zeros, zeros), torch.float32, torch.float32).any()
    assert rows_beyond_rounding(parts_of_scale(zeros + 1e-9, zeros, zeros), torch.float32, torch.float32).all()


@pytest.mark.parametrize(
    ("rows", "size", "accused"), [(1, 0.9, 0), (2, 0.9, 0), (3, 0.9, 3), (1, 2.1, 1), (2, 0.3, 0), (16, 0.3, 16)]
)
def test_a_row_in_eight_may_stray_in_half_precision_and_none_in_float32(rows: int, size: float, accused: int) -> None:
    parts = torch.zeros(16, 100)
    parts[:rows, 5] = size
    assert int(rows_beyond_rounding(parts, torch.bfloat16, torch.bfloat16).sum()) == accused
    assert int(rows_beyond_rounding(parts, torch.float32, torch.float32).sum()) == rows
