"""Files as MAP's package names them, none of which is ever lost to another λ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentext.errors import DatasetError, SpecError
from latentext.studies.align.files import (
    check_not_taken,
    index_range,
    original_path,
    palette_stem,
    part_path,
    read_palette,
    read_texts,
    write_texts,
)

ROWS = [{"prompt": "Why é?", "generated": "Why é? So."}]


def _path(folder: Path, lam: float, *, full_names: bool = False) -> Path:
    original = original_path(folder, "facebook/opt1.3b", "Anthropic-harmless")
    return part_path(original, palette_stem(original, {"humor": lam}, all_values=False, full_names=full_names), 0, 1)


def test_names_are_those_of_maps_package(tmp_path: Path) -> None:
    original = original_path("results", "opt1.3b", "Anthropic-harmless")
    assert original == Path("results/opt1.3b-Anthropic-harmless.json")
    palette = dict(zip("abcdef", (6.297, 0.834, 0.929, 0.013, 0.026, 0.032), strict=True))
    stem = palette_stem(original, palette, all_values=True)
    assert part_path(original, stem, 0, 200) == Path(
        "results/temp/opt1.3b-Anthropic-harmless_lam=6.297,0.834,0.929,0.013,0.026,0.032_val=all_0to200.json"
    )


def test_texts_are_written_in_maps_form_with_their_exact_lambda_beside(tmp_path: Path) -> None:
    path = _path(tmp_path, 1 / 3)
    write_texts(path, ROWS, {"humor": 1 / 3})
    assert path.name.endswith("_lam=0.333_val=humor_0to1.json")
    assert json.loads(path.read_text(encoding="utf-8")) == ROWS
    assert read_palette(path) == {"humor": 1 / 3}
    assert [found.name for found in path.parent.glob("*.json")] == [path.name]


def test_two_lambdas_with_one_rounded_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    path = _path(tmp_path, 0.1234)
    assert path == _path(tmp_path, 0.1231)
    write_texts(path, ROWS, {"humor": 0.1234})
    with pytest.raises(SpecError, match=r"holds the texts of λ humor=0.1234, and λ humor=0.1231 .*--full-names"):
        write_texts(path, [], {"humor": 0.1231})
    assert read_texts(path) == ROWS
    write_texts(path, ROWS, {"humor": 0.1234})  # The same λ may be written again.


def test_full_names_and_rows_carry_lambda_exactly(tmp_path: Path) -> None:
    first, second = _path(tmp_path, 0.1234, full_names=True), _path(tmp_path, 0.1231, full_names=True)
    assert first != second
    assert "_lam=0.1234_val=humor_" in first.name
    write_texts(first, ROWS, {"humor": 0.1234}, full_names=True)
    assert read_texts(first)[0] == {**ROWS[0], "lam": {"humor": 0.1234}}


def test_a_file_that_does_not_say_its_lambda_is_not_overwritten(tmp_path: Path) -> None:
    path = _path(tmp_path, 0.5)
    path.parent.mkdir(parents=True)
    path.write_text("[]")
    with pytest.raises(SpecError, match="holds the texts of λ unknown"):
        check_not_taken(path, {"humor": 0.5})


@pytest.mark.parametrize("content", ["", "{}", '[{"prompt": "no text"}]', "[1]"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "texts.json"
    path.write_text(content)
    with pytest.raises(DatasetError, match=r"texts\.json"):
        read_texts(path)


def test_index_ranges_end_with_the_prompts() -> None:
    assert index_range(0, None, 10) == range(10)
    assert index_range(3, 100, 10) == range(3, 10)


@pytest.mark.parametrize(("start", "end"), [(10, None), (5, 5), (-1, 3), (6, 2), (0, 0)])
def test_an_empty_range_is_refused(start: int, end: int | None) -> None:
    with pytest.raises(SpecError, match="no prompts from"):
        index_range(start, end, 10)
