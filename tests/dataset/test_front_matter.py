"""The head of a card is what `load_dataset` and the Hub read: it names the tables, and nothing that we do not know."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

import latentext
from latentext.dataset.front_matter import front_matter
from latentext.spec import Spec

OLD = Path(__file__).parents[1] / "data" / "made_by_0.1.0"


def head_of(card: str) -> dict[str, Any]:
    first, head, _ = card.split("---\n", 2)
    assert first == ""
    found = yaml.safe_load(head)
    assert isinstance(found, dict)
    return found


def made(root: Path, **fields: Any) -> dict[str, Any]:
    spec = latentext.Spec(
        prompts={"template": "Say {w}.", "grid": {"w": ["a", "b", "c"]}},  # type: ignore[arg-type]
        decoding={"max_new_tokens": 3, "n": 3},  # type: ignore[arg-type]
        shard_size=2,
        **fields,
    )
    latentext.make_dataset(spec, root)
    return head_of((root / "README.md").read_text(encoding="utf-8"))


def test_every_table_is_named_and_the_records_come_first(tmp_path: Path) -> None:
    root = tmp_path / "data"
    head = made(root, name="three words", rewards=("length", "diversity"))
    records, *scores = head["configs"]
    assert records["config_name"] == "records" and records["default"] is True
    assert len(scores) == 2
    for config in head["configs"]:
        rows = sum(pq.read_table(path).num_rows for path in root.glob(config["data_files"]))
        assert rows == 9, config
    assert head["pretty_name"] == "three words"
    assert not {"license", "language", "base_model"} & set(head), "nothing that nobody said"


def test_a_model_of_the_hub_is_the_base_model_and_a_folder_is_not() -> None:
    facts = {"licence": "cc-by-4.0", "finish_reasons": {}, "scores": {}}
    for name, expected in [("org/Model-1.5B", "org/Model-1.5B"), ("/home/me/model", None), ("tiny", None)]:
        spec = Spec(model=name, prompts={"list": ["a"]})  # type: ignore[arg-type]
        head = head_of(front_matter(facts, spec) + "\n")
        assert head.get("base_model") == expected
        assert head["license"] == "cc-by-4.0"
        assert "configs" not in head, "there are no tables yet"


@pytest.mark.parametrize("name", ["no", "a: b", "--- x", "a\n---\nb: c", "日本 😀", "'", "1e3", "#x"])
def test_any_name_is_the_same_name_in_the_head(name: str) -> None:
    facts = {"licence": None, "finish_reasons": {}, "scores": {}}
    head = head_of(front_matter(facts, Spec(name=name, prompts={"list": ["a"]})) + "\n")  # type: ignore[arg-type]
    assert head["pretty_name"] == " ".join(name.split())


def test_the_cards_of_0_1_0_stay_as_they_are() -> None:
    for card in OLD.glob("*/README.md"):
        assert card.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("datasets") is None, reason="the package datasets (extra hub) is not installed")
def test_datasets_loads_the_directory_offline(tmp_path: Path) -> None:
    made(tmp_path / "data", rewards=("length",))
    program = "import sys, datasets; print(datasets.load_dataset(sys.argv[1])['train'].num_rows)"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == "9"
