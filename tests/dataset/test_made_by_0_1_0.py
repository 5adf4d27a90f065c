"""Three datasets that latentext 0.1.0 made (see their README): they open, verify, continue and grow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.run.made import commits, leftovers, small_spec

import latentext
from latentext.cli.app import exit_code
from latentext.dataset.parts import open_part
from latentext.run.provenance import read_provenance, write_provenance
from latentext.run.status import status
from latentext.spec.files import dump_spec

OLD = Path(__file__).parents[1] / "data" / "made_by_0.1.0"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the folder, to continue the datasets in it."""
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def run(old: Path, spec: str, *options: str) -> int:
    return exit_code(["run", str(old / f"{spec}.yaml"), "--output", str(old / spec), *options])


def kept(root: Path, before: dict[str, tuple[int, int]]) -> bool:
    """Whether no file of a shard that was there has been written again."""
    now = commits(root)
    return bool(before) and {name: now.get(name) for name in before} == before


@pytest.mark.parametrize("name", ["bank", "pairs"])
def test_a_finished_dataset_of_0_1_0_opens_and_verifies(old: Path, name: str) -> None:
    data = latentext.open_dataset(old / name)
    assert len(data.records().to_pylist()) == {"bank": 9, "pairs": 2}[name]
    assert exit_code(["verify", str(old / name)]) == 0
    assert "complete" in str(status(old / name))


@pytest.mark.parametrize("name", ["bank", "pairs"])
def test_a_finished_dataset_of_0_1_0_is_finished_for_the_same_command(old: Path, name: str) -> None:
    before = commits(old / name)
    assert run(old, name) == 0
    assert commits(old / name) == before
    assert exit_code(["verify", str(old / name)]) == 0


def test_a_killed_run_of_0_1_0_goes_on_and_stores_its_sites_in_the_same_order(old: Path) -> None:
    root = old / "sites"
    before = commits(root)
    assert len(latentext.open_dataset(root).records().to_pylist()) == 2
    assert run(old, "sites") == 0
    assert kept(root, before)
    assert leftovers(root) == []
    parts = sorted(root.glob("states/*/*.safetensors"))
    orders = [[name for name, tensor in open_part(part).tensors.items() if len(tensor.shape) == 2] for part in parts]
    assert orders == [["final_norm", "embed", "resid_post.1"]] * 4
    assert len(latentext.open_dataset(root).records().to_pylist()) == 8
    assert exit_code(["verify", str(root)]) == 0


def test_a_bank_of_0_1_0_grows_by_prompts_and_samples_and_keeps_its_labels(old: Path) -> None:
    root = old / "bank"
    before = commits(root)
    assert run(old, "bank", "--set", "prompts.limit=4", "--set", "decoding.n=4") == 0
    assert kept(root, before)
    rows = latentext.open_dataset(root).records().to_pylist()
    labels = {row["index"]: json.loads(row["variables"])["kind"] for row in rows}
    assert (len(rows), labels) == (16, {0: "a", 1: "b", 2: "c", 3: "d"})
    assert exit_code(["verify", str(root)]) == 0
    assert exit_code(["align", "weigh", str(root), "--value_list=length,diversity", "--lam_list=0.1,0.2"]) == 0


def test_pairs_of_0_1_0_grow_by_pairs_and_by_a_site(old: Path) -> None:
    root = old / "pairs"
    before = commits(root)
    assert run(old, "pairs", "--set", "prompts.limit=6") == 0
    assert exit_code(["capture", str(root), "--sites", "final_norm,embed", "--positions", "text"]) == 0
    assert kept(root, before)
    data = latentext.open_dataset(root)
    assert len(data.records().to_pylist()) == 6
    assert len(data.states("embed", positions="text")) == len(data.states("resid_post.2", positions="text"))
    assert exit_code(["verify", str(root)]) == 0


def test_a_dataset_of_0_1_0_whose_texts_lack_their_first_space_takes_no_more_texts(
    stories260k: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, root = tmp_path / "spec.yaml", tmp_path / "data"
    spec.write_text(dump_spec(small_spec(stories260k, counts=1, decoding={"max_new_tokens": 4})))
    words = ["run", str(spec), "--output", str(root)]
    assert exit_code([*words, "--limit", "2"]) == 0
    provenance = read_provenance(root)
    assert provenance is not None
    older = provenance.model_copy(update={"versions": provenance.versions | {"latentext": "0.1.0"}})
    write_provenance(root, older)  # As 0.1.0 would have written it.
    assert exit_code([*words, "--limit", "2"]) == 0
    assert exit_code(["capture", str(root), "--sites", "embed"]) == 0
    capsys.readouterr()
    assert exit_code(words) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "begun by latentext 0.1.0" in said and "lack the space before the answer" in said and "--fresh" in said
    assert exit_code([*words, "--fresh"]) == 0
