"""Views say what the receipts say, in the same bytes each time."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.dataset.made import generated_ids, prompt_ids

from latentext.dataset import layout
from latentext.dataset.documents import read_spec
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.views import write_views

Maker = Callable[..., Dataset]
VIEWS = (layout.METADATA, layout.FAILURES, layout.README)


def test_counts_add_up_and_come_from_the_receipts(make_dataset: Maker) -> None:
    data = make_dataset(10, failed={6: "3000 tokens", 7: "4000 tokens"})
    root = data.directory
    assert data.plan_count == 10  # Before there is metadata, what is finished.
    metadata = write_views(root, data.spec, requests=12)
    assert metadata == json.loads((root / layout.METADATA).read_bytes())
    done = [index for index in range(10) if index not in (6, 7)]
    assert metadata["counts"] == {
        "requests": 12,
        "planned": 12,
        "accepted": 8,
        "rejected": 0,
        "failed": 2,
        "pending": 2,
    }
    assert metadata["tokens"] == {
        "prompt": sum(len(prompt_ids(index)) for index in done),
        "completion": sum(len(generated_ids(index, 0)) for index in done),
    }
    assert metadata["finish_reasons"] == {"length": 2, "stop": 6}
    assert metadata["failure_reasons"] == {"prompt-too-long": 2}
    assert metadata["states"]["first-0"]["rows"] == metadata["tokens"]["completion"]
    assert open_dataset(root).plan_count == 12


def test_failures_are_listed_in_the_order_of_requests(make_dataset: Maker) -> None:
    data = make_dataset(10, failed={7: "line 1\nline 2", 2: "é"})
    write_views(data.directory, data.spec, requests=10)
    lines = [json.loads(line) for line in (data.directory / layout.FAILURES).read_text().splitlines()]
    stage = "records/s0000-0000"
    assert lines == [
        {"stage": stage, "index": 2, "sample": 0, "reason": "prompt-too-long", "message": "é"},
        {"stage": stage, "index": 7, "sample": 0, "reason": "prompt-too-long", "message": "line 1\nline 2"},
    ]


def test_the_same_directory_gives_the_same_bytes(make_dataset: Maker) -> None:
    one, two = make_dataset(10, failed={3: "x"}), make_dataset(10, failed={3: "x"})
    for data in (one, two):
        write_views(data.directory, data.spec, requests=10)
    first = {name: (one.directory / name).read_bytes() for name in VIEWS}
    assert {name: (two.directory / name).read_bytes() for name in VIEWS} == first
    write_views(one.directory, read_spec(one.directory), requests=10)
    assert {name: (one.directory / name).read_bytes() for name in VIEWS} == first
    for content in first.values():
        assert str(one.directory).encode() not in content


def test_an_untrusted_shard_is_pending(make_dataset: Maker) -> None:
    data = make_dataset(10)
    path = data.directory / "records/s0000-0000/00001.parquet"
    path.write_bytes(path.read_bytes()[1:])
    assert write_views(data.directory, data.spec, requests=10)["counts"]["pending"] == 4


def test_the_card_names_a_licence_only_when_told(make_dataset: Maker) -> None:
    data = make_dataset(10)
    write_views(data.directory, data.spec, requests=10)
    card = (data.directory / layout.README).read_text()
    assert "# same-prompt\n\nWords, repeated.\n" in card
    assert card.endswith("## Licence\n\nnot stated\n")
    assert "| texts | 10 of 10 planned |" in card
    assert "| `first-0` | layer 0, embed; layer 4, final_norm | generated | bfloat16 |" in card
    write_views(data.directory, data.spec, requests=10, licence="CC BY 4.0")
    assert (data.directory / layout.README).read_text().endswith("## Licence\n\nCC BY 4.0\n")


def test_text_of_the_users_cannot_break_the_card(make_dataset: Maker) -> None:
    data = make_dataset(2)
    spec = data.spec.model_copy(update={"name": "a | b\n# c", "description": "<script>alert(1)</script>"})
    write_views(data.directory, spec, requests=2)
    card = (data.directory / layout.README).read_text()
    assert "# a \\| b # c\n" in card
    assert "<script" not in card


def test_the_place_of_a_local_model_stays_at_home(make_dataset: Maker) -> None:
    data = make_dataset(2)
    model = data.spec.model.model_copy(update={"name": "/home/ada/models/stories"})
    write_views(data.directory, data.spec.model_copy(update={"model": model}), requests=2)
    for name in VIEWS:
        assert "/home" not in (data.directory / name).read_text()
    assert open_dataset(data.directory).metadata["model_name"] == "stories"


def test_folders_of_a_run_that_was_killed_before_it_declared_anything_are_passed_over(make_dataset: Maker) -> None:
    data = make_dataset(4)
    for stage in ("states/begun", "scores/begun-01234567"):
        (data.directory / stage).mkdir(parents=True)
    metadata = write_views(data.directory, data.spec, requests=4)
    assert (list(metadata["states"]), list(metadata["scores"])) == (["first-0"], [])
    again = open_dataset(data.directory)
    assert (list(again.captures), again.rewards) == (["first-0"], {})
