"""Shards: consecutive requests that are computed, committed and resumed as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import overload


@dataclass(frozen=True, slots=True)
class Shard:
    """Requests `start` … `stop` - 1 of the plan; `number` names the shard's files."""

    number: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class Shards(Sequence[Shard]):
    """All shards of a plan, by arithmetic.

    A plan that grew has several segments, and no shard reaches over the end of one: what was a short last shard stays
    as it is, and its files with it.

    Args:
        segments: ``(start, stop)`` of each, joined end to end from 0.
        size: requests a shard.
        limit: only the shards that hold any of the first `limit` requests; they are whole all the same.

    Example:
        >>> list(Shards([(0, 3), (3, 5)], size=2))  # doctest: +NORMALIZE_WHITESPACE
        [Shard(number=0, start=0, stop=2), Shard(number=1, start=2, stop=3), Shard(number=2, start=3, stop=5)]
    """

    def __init__(self, segments: Sequence[tuple[int, int]], size: int, limit: int | None = None):
        self._segments = [(start, stop) for start, stop in segments if limit is None or start < limit]
        self._size = size
        lengths = [
            -(-(stop - start if limit is None else min(stop, limit) - start) // size) for start, stop in self._segments
        ]
        self._first_numbers = [0, *accumulate(lengths)]

    def __len__(self) -> int:
        return self._first_numbers[-1]

    @overload
    def __getitem__(self, index: int) -> Shard: ...
    @overload
    def __getitem__(self, index: slice) -> list[Shard]: ...
    def __getitem__(self, index: int | slice) -> Shard | list[Shard]:
        numbers = range(len(self))[index]
        return self._shard(numbers) if isinstance(numbers, int) else [self._shard(number) for number in numbers]

    def _shard(self, number: int) -> Shard:
        place = bisect_right(self._first_numbers, number) - 1
        start, stop = self._segments[place]
        start += (number - self._first_numbers[place]) * self._size
        return Shard(number, start, min(start + self._size, stop))
