"""Banks from dataset directories, written with the functions that a run uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.dataset.made import write_records_shard

from latentext.dataset import layout
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.receipts import write_receipt
from latentext.dataset.scores import write_scores
from latentext.dataset.stages import ScoresStage, write_stage
from latentext.errors import DatasetError, SpecError
from latentext.storage import filesystem
from latentext.studies.align import read_bank

PROMPTS, SAMPLES = 6, 4
Score = Callable[[int, int], float | None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / layout.SPEC).write_text(yaml.safe_dump({"prompts": {"list": ["a"]}}))
    (tmp_path / layout.PROVENANCE).write_text('{"format_version":1}')
    for shard in range(2):
        write_records_shard(tmp_path, shard, range(3 * shard, 3 * shard + 3), range(SAMPLES), {})
    return tmp_path


def _add(folder: Path, name: str, score: Score) -> Dataset:
    stage = layout.scores_folder(f"{name}-0123abcd")
    write_stage(folder, stage, ScoresStage(reward=name, samples=(0, SAMPLES), columns=("score",)))
    filesystem.make_folder(folder / stage)
    for shard in range(2):
        places = [(i, s) for i in range(3 * shard, 3 * shard + 3) for s in range(SAMPLES)]
        index, sample = zip(*places, strict=True)
        entry = write_scores(
            folder / stage / layout.table_name(shard), index, sample, {"score": [score(*p) for p in places]}
        )
        receipt = folder / stage / layout.receipt_name(shard)
        write_receipt(receipt, stage=stage, shard=shard, start=3 * shard, stop=3 * shard + 3, files=[entry])
    return open_dataset(folder)


def test_scores_of_several_rewards_are_joined_under_the_requests_keys(folder: Path) -> None:
    _add(folder, "humor", lambda i, s: 10.0 * i + s)
    dataset = _add(folder, "length", lambda i, s: -1.0 * s)
    bank, left_out = read_bank(dataset, ["length", "humor"])
    assert bank.names == ("length", "humor")
    assert bank.keys == tuple(f"{i:064x}" for i in range(PROMPTS))
    expected = 10.0 * np.arange(PROMPTS)[:, None] + np.arange(SAMPLES)
    np.testing.assert_array_equal(bank.rewards[:, :, 1], expected)
    np.testing.assert_array_equal(bank.rewards[:, :, 0], -np.broadcast_to(np.arange(SAMPLES), (PROMPTS, SAMPLES)))
    assert left_out == ()


def test_a_prompt_of_which_a_sample_has_no_score_is_left_out_and_reported(folder: Path) -> None:
    _add(folder, "humor", lambda i, s: None if (i, s) == (4, 2) else 1.0 * s)
    dataset = _add(folder, "length", lambda i, s: None if (i, s) == (1, 0) else 1.0 * s)
    bank, left_out = read_bank(dataset, ["length", "humor"])
    assert left_out == (1, 4)
    assert bank.prompts == PROMPTS - 2


def test_a_score_that_is_not_a_number_is_named(folder: Path) -> None:
    dataset = _add(folder, "humor", lambda i, s: np.nan if (i, s) == (4, 2) else 0.0)
    with pytest.raises(SpecError, match=r"reward 'humor' of prompt 4 .*, sample 2 is nan"):
        read_bank(dataset, ["humor"])


def test_rewards_that_are_not_there_are_named(folder: Path) -> None:
    dataset = _add(folder, "humor", lambda i, s: 0.0)
    with pytest.raises(DatasetError, match="'mirth'"):
        read_bank(dataset, ["humor", "mirth"])
    with pytest.raises(SpecError, match="at least one reward; scored are: humor"):
        read_bank(dataset, [])


def test_rewards_without_a_common_text_are_refused(folder: Path) -> None:
    _add(folder, "humor", lambda i, s: 0.0 if i < 3 else None)
    dataset = _add(folder, "length", lambda i, s: None if i < 3 else 0.0)
    with pytest.raises(SpecError, match="no text has scores of humor and length"):
        read_bank(dataset, ["humor", "length"])
