"""What "the same states" means in float32: the definition in docs/architecture.md, for one row by itself."""

from __future__ import annotations

import torch


def assert_same_states(actual: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """Every component within 1e-4 · (mean |x| + |x_j|) of its row.

    Of the row alone, so stricter than the definition, which allows for what the component was before and elsewhere.
    """
    assert actual.shape == expected.shape, f"{what}: {tuple(actual.shape)} is not {tuple(expected.shape)}"
    actual, expected = actual.double(), expected.double()
    if not expected.numel():
        return
    size = expected.abs()
    off = (actual - expected).abs()
    allowed = 1e-4 * (size.mean(-1, keepdim=True) + size)
    assert (off <= allowed).all(), f"{what}: {(off / allowed).max().item():.2g} times the tolerance"
