"""The report: one page that is complete in itself and in which no text can run, and a PNG file for each picture."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tests.report.conftest import Copy, longer, rewrite_records

from latentext.cli.app import exit_code
from latentext.dataset.reader import Dataset, open_dataset
from latentext.errors import DatasetError
from latentext.report.making import make_report
from latentext.report.page import render_page
from latentext.report.picture import Picture, Skipped
from latentext.report.probe_scores import Predictions, predicted_against_actual, probe_scores

Maker = Callable[..., Dataset]
EVIL = """</title></style><script>alert(1)</script><img src=x onerror="alert(2)">' "&"""


class Tags(HTMLParser):
    """Every tag with its attributes, as a browser would find them."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def assert_harmless(page: str) -> None:
    for tag, attributes in Tags(page).found:
        assert tag not in {"script", "iframe", "object", "embed", "link", "base", "form", "svg", "a"}
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("src") or "data:image/png;base64,").startswith("data:image/png;base64,")
        assert "href" not in attributes
    assert "://" not in page and "url(" not in page and "@import" not in page


def test_no_text_can_run_wherever_it_stands() -> None:
    picture = Picture(EVIL, EVIL, EVIL, b"\x89PNG", {EVIL: EVIL})
    page = render_page(EVIL, EVIL, {EVIL: EVIL}, [picture], [Skipped(EVIL, EVIL, EVIL)])
    assert_harmless(page)
    assert page.count("<img") == 1
    assert "Content-Security-Policy" in page and "default-src &#x27;none&#x27;" in page


def test_texts_of_a_dataset_cannot_run(make_dataset: Maker, with_spec: Copy, tmp_path: Path) -> None:
    dataset = with_spec(make_dataset(), name="x", description=EVIL, split={"by": EVIL, "val": 0.2})
    report = make_report(dataset, tmp_path / "out", decode=lambda token_id: EVIL)
    assert_harmless(report.page.read_text())


def test_the_page_holds_the_same_pictures_as_the_files(make_dataset: Maker) -> None:
    report = make_report(make_dataset())
    inside = [tag["src"] for name, tag in Tags(report.page.read_text()).found if name == "img"]
    files = [report.page.with_name(f"{picture.name}.png").read_bytes() for picture in report.pictures]
    assert len(files) == 8
    assert [base64.b64decode(str(source).split(",")[1]) for source in inside] == files
    assert {path.name for path in report.page.parent.iterdir()} == {
        "index.html",
        *(f"{picture.name}.png" for picture in report.pictures),
    }
    assert {absent.name for absent in report.skipped} == {"deviation_bins", "probe_scores"}


def test_the_page_follows_the_files(make_dataset: Maker) -> None:
    dataset = make_dataset(states=False)
    before = make_report(dataset).page.read_bytes()
    assert make_report(open_dataset(dataset.directory)).page.read_bytes() == before
    rewrite_records(dataset.directory, 0, longer)
    assert make_report(open_dataset(dataset.directory)).page.read_bytes() != before


def test_a_damaged_file_is_named_instead_of_drawn(make_dataset: Maker) -> None:
    dataset = make_dataset(states=False)
    (path, *_) = sorted((dataset.directory / "records").glob("*/00001.parquet"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DatasetError, match="00001"):
        make_report(open_dataset(dataset.directory))


def test_a_dataset_without_texts_has_a_page_that_says_so(make_dataset: Maker) -> None:
    report = make_report(make_dataset(0))
    assert not report.pictures
    assert "there are no texts yet" in report.page.read_text()


def test_no_display_is_needed_and_pyplot_is_not_loaded(make_dataset: Maker, tmp_path: Path) -> None:
    root = make_dataset(4, states=False).directory
    program = (
        "import sys, pathlib, latentext; from latentext.report.making import make_report;"
        f"make_report(latentext.open_dataset({str(root)!r}), pathlib.Path({str(tmp_path / 'out')!r}));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def score(value: float | None) -> dict[str, object]:
    return {
        "value": value,
        "low": None,
        "high": None,
        "reason": "" if value is not None else "all targets are the same",
    }


def write_results(root: Path, r2: float | None) -> Path:
    """Results as probing logs them, of two sites out of the order of depth."""
    sites = [
        {"site": site, "width": 8, "scores": {"r2": score(r2)}, "baselines": {"twin": {"r2": score(0.1)}}, "added": {}}
        for site in ("final_norm", "embed")
    ]
    part = {"texts": 3, "rows": 12}
    results = {
        "counts": {"train": part, "validation": part, "test": part},
        "baselines": {"step": {"r2": score(0.2)}},
        "absent": {"count - step": "the prompts ask for no count"},
        "sites": sites,
    }
    path = root / "probes" / "remaining-ridge" / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results))
    return path


def test_logged_probe_scores_are_drawn_by_depth(make_dataset: Maker) -> None:
    dataset = make_dataset(4)
    picture = probe_scores(dataset, write_results(dataset.directory, 0.5))
    assert isinstance(picture, Picture)
    assert picture.numbers == {"layer 0, embed": "R² 0.5000", "layer 4, final_norm": "R² 0.5000"}
    assert "count - step (the prompts ask for no count)" in picture.caption
    other = probe_scores(dataset, write_results(dataset.directory, 0.75))
    assert isinstance(other, Picture) and other.png != picture.png
    assert isinstance(probe_scores(dataset, write_results(dataset.directory, None)), Picture)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sites": 3}', "\x00"])
def test_probe_results_that_are_none_are_named(make_dataset: Maker, content: str) -> None:
    dataset = make_dataset(4)
    path = write_results(dataset.directory, 0.5)
    path.write_text(content)
    picture = probe_scores(dataset, path)
    assert isinstance(picture, Skipped) and picture.reason.startswith("results.json cannot be read")


def test_predictions_are_set_beside_the_truth() -> None:
    actual, predicted = np.array([0.0, 2.0, 4.0]), np.array([-1.0, 2.0, 5.0])
    picture = predicted_against_actual(Predictions("ridge", "embed", "remaining", "tokens", actual, predicted))
    assert isinstance(picture, Picture)
    assert picture.numbers == {"mean absolute error": "0.6667 tokens"}


def test_the_command_names_what_it_does_not_draw(
    make_dataset: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_dataset(states=False).directory
    assert exit_code(["report", str(root), "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "no deviation_bins: the spec has no check of what was asked" in printed
    assert f"4 pictures: {tmp_path / 'out' / 'index.html'}" in printed


def test_the_command_refuses_what_is_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["report", str(tmp_path)]) == 1
    assert "not a dataset directory" in capsys.readouterr().err
