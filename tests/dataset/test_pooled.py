"""Datasets of pooled states, of several captures and of unfinished ones are read as any other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.dataset.conftest import Maker

import latentext
from latentext.cli.app import exit_code
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.states_view import StatesView
from latentext.errors import DatasetError
from latentext.export.npy import export_npy
from latentext.spec.files import load_spec

CAPTURES: list[list[dict[str, Any]]] = [
    [{"sites": ["final_norm"]}],
    [{"sites": [1], "pool": ["first", "mean"]}],
    [{"sites": ["resid_post.3", "embed"], "pool": "max"}],
    [{"sites": [2], "positions": "prompt"}],
    [{"sites": [2, 0], "positions": "all"}, {"sites": [2], "pool": "last"}],
    [{"sites": [-2], "positions": "first"}, {"sites": [1], "pool": "mean"}],
    [{"sites": [3], "pool": "mean"}, {"sites": [3], "pool": "mean", "dtype": "float16"}],
    [{"sites": [3], "dtype": "bfloat16"}, {"sites": [3, 4]}, {"sites": [4], "positions": "prompt"}],
    [
        {"sites": [3], "positions": "last"},
        {"sites": [3], "positions": "prompt"},
        {"sites": [3], "pool": ["mean", "max"]},
    ],
]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A dataset for each of `CAPTURES`: the first while texts are written, the others added to them."""
    made = {}
    for number, (first, *others) in enumerate(CAPTURES):
        root = made[number] = tmp_path_factory.mktemp("captured") / "data"
        spec = {
            "model": "tiny",
            "prompts": {"template": "Say {word}.", "grid": {"word": ["sun", "dog", "cat"]}},
            "decoding": {"max_new_tokens": 4},
            "states": first,
        }
        latentext.make_dataset(load_spec(spec), root)
        for wanted in others:
            options = [f"--sites={','.join(map(str, wanted['sites']))}"]
            for name in ("positions", "dtype"):
                options += [f"--{name}={wanted[name]}"] if name in wanted else []
            pools = wanted.get("pool", [])
            options += [f"--pool={','.join([pools] if isinstance(pools, str) else pools)}"] if pools else []
            assert exit_code(["capture", str(root), *options]) == 0
    return made


def example_of(root: Path) -> str:
    found = re.search(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("number", range(len(CAPTURES)))
def test_the_example_of_a_card_runs_as_it_is_printed(captured: dict[int, Path], number: int) -> None:
    example = example_of(captured[number])
    line = next(line for line in example.splitlines() if line.startswith("data.states("))
    names: dict[str, Any] = {}
    with chdir(captured[number]):
        exec(example, names)
        view = eval(line.split("#")[0], names)
    stages = open_dataset(captured[number]).captures
    assert isinstance(view, StatesView) and view.shape[0] > 0
    assert any(view.site == stage.sites[0] and view.pool in stage.pool for stage in stages.values())
    assert ("[texts, width]" in line) == (view.pool != "none")


def test_the_example_of_pairs_runs(tmp_path: Path) -> None:
    pairs = Path(__file__).parents[1] / "data" / "made_by_0.1.0" / "pairs.jsonl"
    spec = {
        "model": "tiny",
        "prompts": {"pairs": {"path": str(pairs), "forms": ["single_token"]}, "use_chat_template": False, "limit": 2},
        "decoding": {"max_new_tokens": 0},
        "states": {"sites": [3], "positions": "text"},
    }
    latentext.make_dataset(load_spec(spec), tmp_path / "pairs")
    with chdir(tmp_path / "pairs"):
        exec(example_of(Path()), {})


@pytest.mark.parametrize("number", range(len(CAPTURES)))
def test_a_card_calls_every_site_by_its_layer_and_its_name(captured: dict[int, Path], number: int) -> None:
    card = (captured[number] / "README.md").read_text()
    for stage in open_dataset(captured[number]).captures.values():
        for site, index in zip(stage.sites, stage.huggingface_indices, strict=True):
            assert (f"last block, {site}" if index is None else f"layer {index}, {site}") in card


def test_states_of_every_token_stay_the_usual_ones_when_pooled_ones_are_added(captured: dict[int, Path]) -> None:
    data = open_dataset(captured[7])
    assert data.states(4).pool == "none" and len(data.states(4)) > 3
    with pytest.raises(DatasetError, match="name one: positions='all' or pool='last'"):
        open_dataset(captured[4]).states(2)  # Not all positions, and not silently the mean that was added later.
    assert open_dataset(captured[4]).states(2, pool="last").shape[0] == 3


def decode(token_id: int) -> str:
    return str(token_id)


def exported(data: Dataset, folder: Path, **options: Any) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    export_npy(data, folder, decode_token=decode, truncated="keep", **options)
    for split in ("train", "val"):
        texts, states = np.load(folder / f"{split}_texts.npy"), np.load(folder / f"{split}_hidden_states.npy")
        yield from zip(texts.tolist(), states, strict=True)


@pytest.mark.parametrize("pool", ["mean", "first"])
def test_pooled_states_are_exported_with_the_text_of_every_row(make_dataset: Maker, tmp_path: Path, pool: str) -> None:
    data = make_dataset(23, pools=("first", "mean"), samples=(range(2),), dtype=torch.float32)
    rows = list(exported(data, tmp_path / "npy", pool=pool))
    assert len(rows) == 46
    views = [data.states(site, pool=pool) for site in ("embed", "final_norm")]  # type: ignore[arg-type]
    for (index, sample), states in rows:
        expected = np.concatenate([view[view.text(index, sample)][0] for view in views])
        np.testing.assert_array_equal(states, expected)


def test_one_pooling_is_exported_without_being_named_and_of_several_one_must_be(
    make_dataset: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(list(exported(make_dataset(23, pools=("max",)), tmp_path / "one"))) == 23
    several = make_dataset(23, pools=("last", "mean"))
    with pytest.raises(DatasetError, match="--pool last or --pool mean"):
        export_npy(several, tmp_path / "several", decode_token=decode)
    with pytest.raises(DatasetError, match="no states were pooled by max; there are: last, mean"):
        export_npy(several, tmp_path / "several", decode_token=decode, pool="max")
    assert not (tmp_path / "several").exists()


def test_the_command_exports_probes_shows_and_reports_pooled_states(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = str(tmp_path / "data"), str(tmp_path / "npy")
    words = ["run", "length/same_prompt", "--limit", "60", "--output", root]
    assert exit_code([*words, "--set", "states={sites: [2], pool: mean}"]) == 0
    assert exit_code(["export", root, out, "--to", "npy"]) == 0
    assert "one per text (pool mean)" in capsys.readouterr().out
    assert exit_code(["probe", root, "--twins", "1"]) == 0
    said = capsys.readouterr().out
    assert "total, ridge" in said and "layer 2, resid_post.1 (mean)" in said
    assert exit_code(["probe", root, "--probe", f"{root}/probes/total-ridge-mean/resid_post.1"]) == 0
    logged = [line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.startswith("mae")]
    assert logged and logged[0][0] == logged[0][1]
    assert exit_code(["probe", root, "--target", "remaining"]) == 2
    assert "--target total" in capsys.readouterr().err
    assert exit_code(["show", root]) == 0
    assert exit_code(["report", root]) == 0
    said = capsys.readouterr().out
    assert "pooled over the text (mean)" in said
    assert (Path(root) / "report" / "state_histograms.png").exists()


def test_a_site_whose_capture_is_not_finished_is_named_and_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    spec = {
        "model": "tiny",
        "prompts": {"template": "Say {word}.", "grid": {"word": [f"sun {k}" for k in range(12)]}},
        "decoding": {"max_new_tokens": 4},
        "states": {"sites": ["final_norm"]},
        "shard_size": 4,
        "split": {"by": "prompt", "val": 0.4},
    }
    latentext.make_dataset(load_spec(spec), root)
    assert exit_code(["capture", str(root), "--sites", "embed"]) == 0
    for path in root.glob("states/embed-*/00001*"):
        path.unlink()
    capsys.readouterr()
    for command in (
        ["export", str(root), str(tmp_path / "npy"), "--to", "npy", "--keep-truncated"],
        ["probe", str(root)],
    ):
        assert exit_code(command) == 1
        assert "layer 0, embed and layer 4, final_norm were captured of different texts" in capsys.readouterr().err
