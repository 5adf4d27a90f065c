"""Parts become one file: ordered, complete, and not a part lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latentext.errors import LatentextError
from latentext.studies.align import Bank, draw, tilt
from latentext.studies.align.files import read_palette, write_texts
from latentext.studies.align.merging import find_parts, merge

Simulate = Callable[..., Bank]
STEM = "tiny-Imdb_lam=0.500_val=humor"


def _rows(start: int, end: int) -> list[dict[str, Any]]:
    return [{"prompt": f"p{i}", "generated": f"p{i} text"} for i in range(start, end)]


def _part(folder: Path, start: int, end: int, *, lam: float = 0.5, stem: str = STEM) -> Path:
    path = folder / f"{stem}_{start}to{end}.json"
    write_texts(path, _rows(start, end), {"humor": lam})
    return path


def test_merged_parts_are_the_bytes_of_one_run(tmp_path: Path) -> None:
    parts = [_part(tmp_path, 10, 12), _part(tmp_path, 0, 7), _part(tmp_path, 7, 10)]
    whole = _part(tmp_path / "whole", 0, 12)
    assert merge(parts, tmp_path / "merged.json", prompts=12) == 12
    assert (tmp_path / "merged.json").read_bytes() == whole.read_bytes()
    assert read_palette(tmp_path / "merged.json") == {"humor": 0.5}
    assert all(part.exists() for part in parts)


def test_texts_sampled_in_shards_and_merged_are_the_bytes_of_one_run(simulate: Simulate, tmp_path: Path) -> None:
    bank, palette = simulate(30, 8, seed=2), {"humor": 0.7}

    def sample(folder: Path, start: int, end: int) -> Path:
        shard = bank.take(range(start, end))
        chosen = draw(shard, tilt(shard, list(palette.values())), seed=5)[:, 0]
        rows = [{"prompt": key, "generated": f"{key} text {j}"} for key, j in zip(shard.keys, chosen, strict=True)]
        path = folder / f"{STEM}_{start}to{end}.json"
        write_texts(path, rows, palette)
        return path

    whole = sample(tmp_path / "whole", 0, 30)
    parts = [sample(tmp_path, start, end) for start, end in ((20, 30), (0, 3), (3, 20))]
    merge(parts, tmp_path / "merged.json", prompts=30)
    assert (tmp_path / "merged.json").read_bytes() == whole.read_bytes()


def test_parts_are_found_in_order_of_their_numbers_and_of_their_run_only(tmp_path: Path) -> None:
    for start, end in ((100, 200), (20, 100), (0, 20)):
        _part(tmp_path, start, end)
    _part(tmp_path, 0, 20, stem="tiny-Imdb_lam=0.500_val=humor,length")
    assert [(part.start, part.end) for part in find_parts(tmp_path, STEM)] == [(0, 20), (20, 100), (100, 200)]
    with pytest.raises(LatentextError, match="no parts named other_"):
        find_parts(tmp_path, "other")


def test_parts_are_removed_only_when_the_result_is_on_disk(tmp_path: Path) -> None:
    parts = [_part(tmp_path, 0, 3), _part(tmp_path, 3, 5)]
    taken = tmp_path / "merged.json"
    write_texts(taken, [], {"humor": 0.4999})
    with pytest.raises(LatentextError, match="rounds to the same name"):
        merge(parts, taken, remove_parts=True)
    assert all(part.exists() for part in parts)
    merge(parts, tmp_path / "other.json", remove_parts=True)
    assert not any(part.exists() or part.with_suffix(".lam").exists() for part in parts)
    assert json.loads((tmp_path / "other.json").read_text()) == _rows(0, 5)


@pytest.mark.parametrize(
    ("ranges", "prompts", "message"),
    [
        ([(0, 3), (5, 8)], None, "prompts 3 to 5 are missing"),
        ([(2, 4)], None, "prompts 0 to 2 are missing"),
        ([(0, 3)], 5, "prompts 3 to 5 are missing"),
        ([(0, 3), (2, 5)], None, "prompts 2 to 3 stand in two parts"),
        ([(0, 5), (1, 2), (5, 6)], None, "prompts 1 to 2 stand in two parts"),
        ([], None, "no parts to merge"),
    ],
)
def test_gaps_and_overlaps_are_named_and_nothing_is_written(
    tmp_path: Path, ranges: list[tuple[int, int]], prompts: int | None, message: str
) -> None:
    parts = [_part(tmp_path, start, end) for start, end in ranges]
    with pytest.raises(LatentextError, match=message):
        merge(parts, tmp_path / "merged.json", prompts=prompts)
    assert not (tmp_path / "merged.json").exists()


def test_parts_of_other_lambdas_or_runs_are_not_mixed(tmp_path: Path) -> None:
    first = _part(tmp_path, 0, 3)
    with pytest.raises(LatentextError, match=r"has λ \{'humor': 0.5001\}"):
        merge([first, _part(tmp_path, 3, 5, lam=0.5001)], tmp_path / "merged.json")
    with pytest.raises(LatentextError, match="parts of different runs"):
        merge([first, _part(tmp_path, 3, 5, stem="other")], tmp_path / "merged.json")


def test_a_part_with_fewer_texts_than_its_name_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"{STEM}_0to3.json"
    write_texts(path, _rows(0, 2), {"humor": 0.5})
    with pytest.raises(LatentextError, match="holds 2 texts, its name says 3"):
        merge([path], tmp_path / "merged.json")


def test_parts_that_another_program_wrote_are_merged_without_an_exact_lambda(tmp_path: Path) -> None:
    parts = [_part(tmp_path, 0, 3), _part(tmp_path, 3, 5)]
    parts[0].with_suffix(".lam").unlink()
    with pytest.raises(LatentextError, match="unknown"):
        merge(parts, tmp_path / "merged.json")
    parts[1].with_suffix(".lam").unlink()
    assert merge(parts, tmp_path / "merged.json") == 5
    assert read_palette(tmp_path / "merged.json") is None


def test_a_name_without_a_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LatentextError, match="not the name of a part"):
        merge([tmp_path / "texts.json"], tmp_path / "merged.json")
