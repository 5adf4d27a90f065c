"""Every report in a browser: texts, prompts, names and fields of a spec hold scripts, and none of them runs.

The datasets come from real runs; what a model would have to write by chance is written into the records by the writers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.browser.conftest import Look

from latentext.cli.app import exit_code
from latentext.dataset import layout
from latentext.dataset.receipts import read_receipt, write_receipt
from latentext.dataset.records import write_records
from latentext.report.page import Table, render_page
from latentext.request import Completion, Request

SCRIPT = "<script>window.owned=true;alert(1)</script>"
EVIL = f"""</title></style>{SCRIPT}<img src="http://192.0.2.1/x.png" onerror="window.owned=true">"""
EVIL += """<svg onload="window.owned=true"><a href="javascript:window.owned=true">here</a> ' "><b onclick='alert(2)'>"""
EVIL += """{{7*7}} ${7*7} <iframe srcdoc="<script>parent.owned=true</script>"></iframe>]]> --> <meta>"""

SHORT: dict[str, Any] = {"temperature": 1.0, "max_new_tokens": 6}


def make(folder: Path, **fields: Any) -> Path:
    """Run a spec with tiny; its name and description hold the payload."""
    folder.mkdir(exist_ok=True)
    spec = {"name": EVIL, "description": EVIL, "model": {"name": "tiny"}, "decoding": SHORT, **fields}
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    code = exit_code(["run", str(folder / "spec.yaml"), "--output", str(folder / "data")])
    assert code in (0, 4)
    return folder / "data"


def rewrite(root: Path) -> None:
    """Every text of a dataset becomes the payload, its ids stay; files and receipts are those of such a run."""
    for stage in layout.list_stages(root, "records"):
        for number in layout.list_shards(root, stage):
            place = root / stage / layout.receipt_name(number)
            receipt = read_receipt(place)
            import pyarrow.parquet as pq

            rows = pq.read_table(root / stage / layout.table_name(number)).to_pylist()
            requests = {
                row["index"]: Request(
                    row["index"], row["key"], json.loads(row["variables"]), json.loads(row["messages"]), row["prompt"],
                    row["prompt_token_ids"],
                )
                for row in rows
            }  # fmt: skip
            texts = [Completion(row["index"], row["sample"], EVIL, row["token_ids"], EVIL[:60]) for row in rows]
            entry = write_records(root / stage / layout.table_name(number), list(requests.values()), texts)
            kept = {"how": receipt.how, "counts": receipt.counts, "failures": receipt.failures}
            span = {"shard": number, "start": receipt.start, "stop": receipt.stop}
            write_receipt(place, stage=stage, files=[entry], **span, **kept)
    for kind in ("states", "scores"):
        for stage in layout.list_stages(root, kind):
            for number in layout.list_shards(root, stage):
                place = root / stage / layout.receipt_name(number)
                old = read_receipt(place)
                upstream = {
                    name: read_receipt(root / Path(name).parent / layout.receipt_name(number)).files[0].sha256
                    for name in old.upstream
                }
                span = {"shard": number, "start": old.start, "stop": old.stop, "files": old.files, "how": old.how}
                write_receipt(place, stage=stage, upstream=upstream, counts=old.counts, failures=old.failures, **span)


def length(folder: Path) -> Path:
    grid = {"count": {"range": [1, 4]}, "word": [EVIL, "hello"]}
    root = make(
        folder,
        prompts={"template": "Print {count} times {word}", "grid": grid},
        states={"sites": ["embed", "final_norm"]},
        check={"repetition": {"word": "word", "count": "count"}},
        split={"by": "word", "val": 0.5},
    )
    rewrite(root)
    assert exit_code(["report", str(root), "--output", str(folder / "length")]) == 0
    return folder / "length" / "index.html"


def represent(folder: Path) -> Path:
    root = make(
        folder,
        prompts={"list": [EVIL, "Say hello", "Say goodbye"]},
        states={"sites": ["final_norm"], "pool": ["last", "mean"]},
    )
    rewrite(root)
    assert exit_code(["report", str(root), "--output", str(folder / "represent")]) == 0
    return folder / "represent" / "index.html"


def pairs(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    types = [f"{form}_{side}" for form in ("single_token", "multi_token") for side in ("prompt", "counterfactual")]
    lines = [
        {"scenario_id": n, "type": kind, "task": EVIL, "topic": EVIL, "text": f"Make a {EVIL} {n} {kind[-1]}"}
        for n in range(3)
        for kind in types
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    root = make(folder, prompts={"pairs": str(folder / "pairs.jsonl")})
    assert exit_code(["report", str(root), "--output", str(folder / "pairs")]) == 0
    return folder / "pairs" / "index.html"


def align(folder: Path) -> Path:
    root = make(
        folder,
        prompts={"list": [f"{EVIL} {n}" for n in range(4)]},
        decoding=SHORT | {"n": 6},
        rewards=["length", "perplexity"],
    )
    rewrite(root)
    words = ["--lam_list=0.5", "--value_list=length", "--output", str(folder / "align")]
    assert exit_code(["align", "report", str(root), *words]) == 0
    return folder / "align" / "index.html"


def complete(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [
        {"id": f"{EVIL}{n}", "source": f"A person said {n} {EVIL}", "human_completions": f"Well, {EVIL} number {n}."}
        for n in range(6)
    ]
    (folder / "stories.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts = {"corpus": "stories", "task": 1, "file": str(folder / "stories.jsonl")}
    root = make(folder, prompts=prompts, length={"policy": "none"})
    rewrite(root)
    assert exit_code(["report", str(root), "--output", str(folder / "complete")]) == 0
    return folder / "complete" / "index.html"


@pytest.mark.slow
@pytest.mark.parametrize("report", [length, represent, pairs, align, complete])
def test_nothing_in_a_report_runs_or_reaches_out(
    report: Callable[[Path], Path], tmp_path: Path, look: Look, capsys: pytest.CaptureFixture[str]
) -> None:
    page = report(tmp_path / "made")
    seen = look(page)
    assert (seen["ran"], seen["requests"], seen["console"]) == ([], [], [])
    assert SCRIPT in seen["text"]  # The payload is there, to be read.
    assert seen["images"] and all(seen["images"])
    assert seen["width"] <= 1100, "it has to be scrolled sideways"


def test_the_watch_sees_a_script_a_request_and_a_complaint(tmp_path: Path, look: Look) -> None:
    (tmp_path / "bad.html").write_text(EVIL + "<script>console.log('hello')</script>")
    seen = look(tmp_path / "bad.html")
    assert seen["ran"] and seen["requests"] and seen["console"]


def test_the_policy_of_the_page_alone_stops_a_script_that_slipped_through(tmp_path: Path, look: Look) -> None:
    page = render_page("t", "d", {}, [], [], [Table("n", "t", "c", ["a"], [["slipped"]])])
    (tmp_path / "page.html").write_text(page.replace("slipped", EVIL))
    seen = look(tmp_path / "page.html")
    assert (seen["ran"], seen["requests"]) == ([], [])
