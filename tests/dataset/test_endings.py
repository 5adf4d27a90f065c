"""A name that ends as another format does is refused by every writer that has one format."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentext.cli.app import exit_code
from latentext.dataset.outputs import OutputKind, checked_file
from latentext.errors import SpecError
from latentext.studies.align.files import FRONTIER, TEXTS
from latentext.studies.align.text_rows import CANDIDATES
from latentext.studies.pairs.jsonl import JSONL


@pytest.mark.parametrize(
    ("kind", "names", "others"),
    [
        (TEXTS, ["a.json", "a.JSON", "a"], ["a.csv", "a.xlsx", "a.jsonl", "lam=0.5"]),
        (CANDIDATES, ["a.jsonl", "a.ndjson", "a"], ["a.parquet", "a.csv", "a.json"]),
        (FRONTIER, ["a.csv", "a"], ["a.json", "a.xlsx", "a.tsv"]),
        (JSONL, ["a.jsonl", "a.json", "a"], ["a.csv", "a.tsv", "a.xlsx"]),
    ],
)
def test_a_name_that_says_another_format_is_refused_with_the_ending_to_use(
    tmp_path: Path, kind: OutputKind, names: list[str], others: list[str]
) -> None:
    for name in names:
        assert checked_file(tmp_path / name, kind, overwrite=False).name == name
    for name in others:
        with pytest.raises(SpecError, match=rf"are not written as \.\w+; end the name in \{kind.endings[0]}"):
            checked_file(tmp_path / name, kind, overwrite=True)


def test_draw_refuses_a_csv_before_it_reads_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["align", "draw", str(tmp_path), "--lam_list=1", "--value_list=length", "-o", str(tmp_path / "texts.csv")]
    assert exit_code(words) == 2
    assert "drawn texts are not written as .csv; end the name in .json\n" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
