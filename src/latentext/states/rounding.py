"""How far one state may differ between two ways of computing it, such as in flight and replayed.

Sums are made in another order, so the last bits differ. How much that is follows from the size of what was summed, and
not from the size of the result:

* A block adds to the residual stream. A component that was 700 in block 2 and is 60 after block 10 keeps the rounding
  error that it had at 700.
* What a block adds to a component is a sum of many terms. They may cancel at one token and add up to hundreds at
  another token of the same text: both sums are rounded alike.
* An error in any component reaches all others through the next attention and MLP, relative to their usual size. The
  mean absolute value of a row says what is usual. Its root mean square does not: one component of 100 among 576 alone
  makes it 4.

The scale of component j of a row is therefore ``mean |x| + s_j``. Here s_j is the largest |x_j| at this token up to
this site, or the root mean square of that over the tokens of the text where it is more. ``final_norm`` divides the
stream by one number and multiplies each component by a weight. Its components have sizes of their own, so there s_j is
that of the row itself, and the scale is multiplied by the factor by which the component had shrunk in the stream.

Measured on SmolLM2-135M-Instruct, whose components reach 700 where the usual one is 1 (`benchmarks/exactness.py`,
`docs/benchmarks.md`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.04, torch.bfloat16: 0.2}
"""The part of its scale by which a component may differ, by the dtype that the model computes in."""

ROW_SHARE = 0.25
"""The root mean square of these parts over the components of a row is at most this share of the tolerance."""

STRAY_ROWS = 8
STRAY_FACTOR = 10.0
"""In half precision one row of so many strays now and then, by up to this many times the tolerance: rounding tips a
choice that the model makes inside. The rest of the text stays where it is, which a fault does not leave there."""


class ComponentScales:
    """Follows one pass of a model from site to site, in order of depth; no site may be left out.

    Args:
        lengths: of the texts of the pass, in tokens; what comes after them is padding.

    Example:
        >>> scales = ComponentScales([1])
        >>> scales.at("resid_post.0", torch.tensor([[[1.0, -7.0]]])).tolist()
        [[[5.0, 11.0]]]
        >>> scales.at("resid_post.1", torch.tensor([[[3.0, -1.0]]])).tolist()
        [[[5.0, 9.0]]]
    """

    def __init__(self, lengths: Sequence[int]):
        self._lengths = torch.tensor(lengths)[:, None]
        self._largest: torch.Tensor | None = None
        self._shrunk: torch.Tensor | None = None

    def at(self, site: str, hidden: torch.Tensor) -> torch.Tensor:
        """The scale of each component of states [batch, tokens, width] at this site, float32 of the same shape."""
        size = hidden.float().abs()
        mean = size.mean(-1, keepdim=True)
        scale = mean + self._at_least_usual(size)
        if site == "final_norm":
            return scale if self._shrunk is None or self._shrunk.shape != scale.shape else scale * self._shrunk
        if self._largest is None or self._largest.shape != size.shape:  # Some embeddings are narrower than the blocks.
            self._largest = size
        self._largest = torch.maximum(self._largest, size)
        so_far = mean + self._at_least_usual(self._largest)
        self._shrunk = so_far / scale.clamp(min=torch.finfo(torch.float32).tiny)
        return so_far

    def _at_least_usual(self, size: torch.Tensor) -> torch.Tensor:
        """The size of each component, or its root mean square over the tokens of the text where that is more."""
        lengths = self._lengths.to(size.device)
        in_text = torch.arange(size.shape[1], device=size.device) < lengths
        usual = (size.masked_fill(~in_text[..., None], 0.0).square().sum(1) / lengths).sqrt()
        return torch.maximum(size, usual[:, None])


def parts_of_scale(found: torch.Tensor, expected: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """|found - expected| / scale of each component, float32; infinite for a NaN, and where only the scale is zero.

    Example:
        >>> parts_of_scale(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]]), torch.tensor([[4.0, 0.0]])).tolist()
        [[0.25, 0.0]]
    """
    off = (found.float() - expected.float()).abs()
    parts = torch.where(off == 0, 0.0, off / scale.float())
    return parts.nan_to_num(nan=torch.inf, posinf=torch.inf)


def rows_beyond_rounding(parts: torch.Tensor, computed: torch.dtype, kept: torch.dtype) -> torch.Tensor:
    """Which rows of `parts` [rows, width], all of one text, no rounding explains, as booleans [rows].

    Args:
        computed: dtype of the model.
        kept: dtype of the stored states; a narrower one than the model's has rounded each component once more.
    """
    beyond = _beyond(parts, TOLERANCE[computed], torch.finfo(kept).eps)
    if computed == torch.float32 or int(beyond.sum()) > -(-len(parts) // STRAY_ROWS):
        return beyond
    return _beyond(parts, STRAY_FACTOR * TOLERANCE[computed], torch.finfo(kept).eps)


def _beyond(parts: torch.Tensor, tolerance: float, narrowing: float) -> torch.Tensor:
    over_row = parts.square().mean(-1).sqrt()
    return (parts.amax(-1) > tolerance + narrowing) | (over_row > ROW_SHARE * tolerance + narrowing)
