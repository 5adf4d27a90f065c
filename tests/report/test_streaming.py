"""Streamed statistics are those of all values at once, however the values are cut into pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latentext.report.streaming import GroupedMoments, StreamedHistogram

PIECES = st.lists(st.lists(st.floats(-1e6, 1e6), min_size=0, max_size=20), min_size=1, max_size=6)


@given(PIECES)
@example([[15.0, -5e-324]])
@example([[0.0, 5e-324]])
def test_every_value_is_counted_in_the_bin_that_it_lies_in(pieces: list[list[float]]) -> None:
    histogram = StreamedHistogram(bins=16)
    for piece in pieces:
        histogram.add(np.array(piece))
    edges, counts = histogram.bars()
    values = np.concatenate([np.array(piece) for piece in pieces])
    assert counts.sum() == len(values)
    assert len(counts) <= 16
    for edge, next_edge, count in zip(edges, edges[1:], counts, strict=False):
        assert count == ((values >= edge) & (values < next_edge)).sum()


@given(PIECES)
def test_moments_are_those_of_all_values(pieces: list[list[float]]) -> None:
    moments = GroupedMoments()
    for piece in pieces:
        moments.add(np.arange(len(piece)) % 3, np.array(piece))
    groups = np.concatenate([np.arange(len(piece)) % 3 for piece in pieces])
    values = np.concatenate([np.array(piece) for piece in pieces])
    for group, count in enumerate(moments.counts):
        here = values[groups == group]
        assert count == len(here)
        if count:
            assert moments.means[group] == pytest.approx(here.mean(), rel=1e-9, abs=1e-3)
            assert moments.deviations[group] == pytest.approx(here.std(), rel=1e-6, abs=1e-1)


def test_a_small_deviation_of_large_numbers_is_not_lost() -> None:
    moments = GroupedMoments()
    moments.add(np.zeros(2, np.int64), np.array([1e9, 1e9 + 2e-3]))
    assert moments.deviations[0] == pytest.approx(1e-3, rel=1e-3)


def test_equal_values_have_one_bin() -> None:
    histogram = StreamedHistogram()
    histogram.add(np.full(7, -3.25))
    edges, counts = histogram.bars()
    assert counts.tolist() == [7] and edges[0] <= -3.25 < edges[1]
