"""Peers side by side: states are compared for what they are, and a peer that fails keeps its row."""

from __future__ import annotations

import json
import runpy
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(BENCHMARKS / "peers.py"))


def test_states_that_differ_in_one_row_are_found_with_the_size_of_the_difference() -> None:
    from peers.table import largest_difference

    rng = np.random.default_rng(0)
    expected = [rng.standard_normal((2, tokens, 16)).astype(np.float32) for tokens in (3, 5)]
    assert largest_difference(expected, expected) == 0
    found = [states.copy() for states in expected]
    found[1][1, 4] *= 1.01
    assert largest_difference(found, expected) == pytest.approx(0.01, rel=1e-4)
    found[1][1, 4, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        largest_difference(found, expected)
    with pytest.raises(ValueError, match="shape"):
        largest_difference([expected[0][:, 1:], expected[1]], expected)


def test_files_of_rows_are_read_back_text_by_text(tmp_path: Path) -> None:
    from peers.files import read_rows, save_rows

    states = np.arange(2 * 5 * 3, dtype=np.float32).reshape(2, 5, 3)
    save_rows(tmp_path, [[7, 8], [9, 10, 11]], list(states))
    (first, two), (second, three) = read_rows(tmp_path, 2)
    assert (first, second) == ([7, 8], [9, 10, 11])
    assert np.array_equal(np.concatenate([two, three], axis=1), states)


def test_the_table_takes_ratios_inside_a_round_and_shows_errors_in_their_rows() -> None:
    from peers.table import render

    row = {"prompts": 6, "error": None, "difference": 2e-6, "same": "4 of 4"}
    rows = [
        {**row, "name": "base", "rates": [10.0, 20.0, 40.0]},
        {**row, "name": "faster", "rates": [30.0, 40.0, 160.0]},
        {**row, "name": "broken", "rates": [], "error": "TypeError: a | b"},
        {**row, "name": "other", "rates": [10.0, 20.0, 40.0], "difference": 0.5},
    ]
    report = {
        "model": "m",
        "machine": "2 cores",
        "threads": 2,
        "rounds": 3,
        "titles": {"forced": "8 prompts"},
        "sets": {"forced": rows},
    }
    lines = render(report).splitlines()
    # Ratios 3, 2 and 4: their median is 3; that of the medians (40 / 20) would be 2.
    assert "| faster | 6 | 40 | 3.00 | 2.00 … 4.00 | 2e-06, 4 of 4 texts the same |" in lines
    assert "| broken | 6 | – | – | – | TypeError: a / b |" in lines
    assert "**differ by 5e-01**" in render(report)


@pytest.mark.slow
def test_a_peer_that_cannot_run_keeps_its_row_beside_those_that_agree(script: dict[str, Any], tmp_path: Path) -> None:
    wanted = [way for way in script["WAYS"] if way.key in ("seeds", "batched", "ours", "ours-given")]
    broken = script["Way"]("broken", "a peer that is not there", "not_there", None, "generate")
    options = Namespace(
        model="tiny",
        prompts=3,
        tokens=4,
        rounds=1,
        threads=1,
        turn=60.0,
        limit=60.0,
        only="",
        sets="forced,given",
        quick=False,
    )
    results = tmp_path / "results.json"
    script["compare"](options, tmp_path, results, [*wanted, broken])
    report = json.loads(results.read_text())
    rows = {row["key"]: row for row in report["sets"]["forced"] + report["sets"]["given"]}
    assert rows["broken"]["rates"] == []
    assert rows["broken"]["error"].startswith("ended with status 1")
    for key in ("seeds", "batched", "ours", "ours-given"):
        assert rows[key]["error"] is None and len(rows[key]["rates"]) == 1, rows[key]
        assert rows[key]["difference"] < 1e-5
    assert rows["ours"]["same"] == "3 of 3"
    assert not list((tmp_path / "scratch").glob("*/*"))


def test_the_gpu_table_says_in_one_line_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    import gpu

    monkeypatch.setattr("sys.argv", ["gpu.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no GPU is visible"):
        gpu.main()


@pytest.mark.slow
def test_the_gpu_table_has_all_rows_on_a_small_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu

    target = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--shape", "tiny-random", "--prompts", "4", "--tokens", "4", "--rounds", "1"]
    monkeypatch.setattr("sys.argv", ["gpu.py", *arguments, "--folder", str(tmp_path), "--json", str(target)])
    gpu.main()
    rows = {row["name"]: row for row in json.loads(target.read_text())["tiny-random"]["rows"]}
    assert len(rows) == 8 and all(len(row["rates"]) == 1 for row in rows.values())
    # 4 texts × 4 rows × 64 wide × 4 bytes a site, with a header and four columns of labels.
    bytes_of = {name: row["disk bytes/s"] * 16 / row["rates"][0] for name, row in rows.items()}
    assert bytes_of["in flight, all 6 sites"] > 6 * 4096 > bytes_of["in flight, 1 site"] > 4096
    assert bytes_of["batched, no states"] == 0
