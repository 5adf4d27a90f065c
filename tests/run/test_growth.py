"""Datasets that grow: more samples, requests and sites are added, and nothing that is finished is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.run.made import SITES, commits, contents, small_spec

import latentext
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import SpecError
from latentext.run.runner import RunSummary, capture_states, make_dataset
from latentext.run.verification import verify
from latentext.spec import Spec, StatesSpec

Copied = Callable[..., Path]


def changed(spec: Spec, **fields: Any) -> Spec:
    """The spec with ``part__field=value`` changed."""
    for name, value in fields.items():
        part, _, field = name.partition("__")
        spec = spec.model_copy(update={part: getattr(spec, part).model_copy(update={field: value}) if field else value})
    return spec


def assert_kept(before: dict[str, Any], root: Path) -> None:
    after = commits(root)
    assert {name: after[name] for name in before} == before


def ranges_of_captures(root: Path) -> dict[str, set[tuple[int, int]]]:
    """The sample ranges for which each site has rows."""
    found: dict[str, set[tuple[int, int]]] = {}
    for name, capture in latentext.open_dataset(root).captures.items():
        assert list((root / "states" / name).glob("*.receipt.json"))
        for site in capture.sites:
            found.setdefault(f"{site} {'-'.join(capture.pool)}", set()).add(capture.samples)
    return found


def test_the_same_spec_again_writes_nothing(spec: Spec, copied: Copied, engine: TransformersEngine) -> None:
    root = copied()
    before, files = commits(root), contents(root)
    summary = make_dataset(spec, root, engine=engine)
    assert (summary.accepted, summary.pending, summary.tokens) == (8, 0, 0)
    assert commits(root) == before
    assert contents(root) == files


def test_more_samples_are_added_with_every_capture(spec: Spec, copied: Copied, engine: TransformersEngine) -> None:
    root = copied()
    capture_states(root, StatesSpec(sites=("embed",)), engine=engine)
    capture_states(root, StatesSpec(sites=("final_norm",), pool=("mean", "last")), engine=engine)
    before = commits(root)
    sampled = changed(spec, decoding__n=3)
    assert make_dataset(sampled, root, engine=engine).accepted == 24
    assert_kept(before, root)
    both = {(0, 1), (1, 3)}
    assert ranges_of_captures(root) == {
        "final_norm none": both,
        "resid_post.1 none": both,
        "embed none": both,
        "final_norm mean-last": both,
    }
    assert latentext.open_dataset(root).states("embed").shape == (240, 64)
    assert verify(root) == []


def test_samples_added_later_are_those_of_a_run_at_once(spec: Spec, tmp_path: Path, engine: TransformersEngine) -> None:
    drawn = changed(spec, decoding__temperature=1.0, decoding__n=1, seed=7)
    for n in (1, 3):
        make_dataset(changed(drawn, decoding__n=n), tmp_path / "grown", engine=engine)
    make_dataset(changed(drawn, decoding__n=3), tmp_path / "at-once", engine=engine)
    rows = {}
    for name in ("grown", "at-once"):
        table = latentext.open_dataset(tmp_path / name).records(["index", "sample", "token_ids"])
        rows[name] = sorted(zip(*(table[c].to_pylist() for c in table.column_names), strict=True))
    assert rows["grown"] == rows["at-once"]
    assert len({tuple(ids) for index, _, ids in rows["grown"] if index == 0}) == 3


def test_more_requests_from_a_higher_limit_and_an_appended_file(
    spec: Spec, tmp_path: Path, engine: TransformersEngine
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"Lily saw {n} birds\n" for n in range(12)))
    told = {"file": {"path": str(prompts)}, "use_chat_template": False}

    def run(**prompt_fields: Any) -> RunSummary:
        return make_dataset(small_spec(spec.model.name, prompts=told | prompt_fields), tmp_path / "data", engine=engine)

    assert run(limit=3).accepted == 3
    before = commits(tmp_path / "data")
    assert run(limit=8).accepted == 8
    assert run().accepted == 12
    with prompts.open("a") as file:
        file.write("Tom saw a snake\n")
    assert run().accepted == 13
    assert_kept(before, tmp_path / "data")
    assert verify(tmp_path / "data") == []
    # A lower limit afterwards takes nothing away and is no fault.
    files = contents(tmp_path / "data")
    assert run(limit=3).accepted == 13
    assert contents(tmp_path / "data") == files


def test_fewer_samples_than_before_remove_nothing(spec: Spec, tmp_path: Path, engine: TransformersEngine) -> None:
    make_dataset(changed(spec, decoding__n=2), tmp_path / "data", engine=engine)
    files = contents(tmp_path / "data")
    summary = make_dataset(spec, tmp_path / "data", engine=engine)
    assert (summary.planned, summary.accepted, summary.pending) == (16, 16, 0)
    assert contents(tmp_path / "data") == files
    assert verify(tmp_path / "data") == []


def test_a_site_added_in_the_spec_is_replayed_beside_what_is_there(
    spec: Spec, copied: Copied, engine: TransformersEngine
) -> None:
    root = copied()
    before = commits(root)
    make_dataset(changed(spec, states__sites=(*SITES, "embed")), root, engine=engine)
    assert_kept(before, root)
    data = latentext.open_dataset(root)
    assert {c.sites: c.how for c in data.captures.values()} == {tuple(SITES): "inflight", ("embed",): "replay"}
    assert data.states("embed").shape == data.states("final_norm").shape
    assert verify(root) == []


def test_states_in_another_dtype_are_a_capture_of_their_own(
    spec: Spec, copied: Copied, engine: TransformersEngine
) -> None:
    root = copied()
    capture_states(root, StatesSpec(sites=("final_norm",), dtype="float16"), engine=engine)
    assert {c.dtype for c in latentext.open_dataset(root).captures.values()} == {"float32", "float16"}
    assert verify(root) == []


def test_a_capture_of_an_unfinished_dataset_covers_what_is_there_and_the_run_the_rest(
    spec: Spec, copied: Copied, engine: TransformersEngine
) -> None:
    root = copied()
    whole = contents(root)
    for path in (root / "records" / "s0000-0000").glob("0000[13]*"):
        path.unlink()
    summary = capture_states(root, StatesSpec(sites=("embed",)), engine=engine)
    assert (summary.accepted, summary.pending) == (4, 4)
    assert len(list(root.glob("states/embed-*/*.receipt.json"))) == 2
    assert make_dataset(spec, root, engine=engine).accepted == 8
    assert len(list(root.glob("states/embed-*/*.receipt.json"))) == 4
    assert verify(root) == []
    after = contents(root)
    views = {"metadata.json", "README.md"}
    assert {n: h for n, h in after.items() if n in whole and n not in views} == {
        n: h for n, h in whole.items() if n not in views
    }


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"seed": 1}, ["seed was 0 and is 1"]),
        (
            {"decoding__max_new_tokens": 11, "decoding__top_p": 0.5},
            ["max_new_tokens was 10 and is 11", "top_p was 1.0"],
        ),
        ({"model__attention": "eager"}, ["model.attention was auto and is eager"]),
        ({"model__dtype": "bfloat16"}, ["model.dtype was float32 and is bfloat16"]),
        ({"shard_size": 4}, ["shard_size was 2 and is 4"]),
        ({"model__threads": 2}, ["model.threads was 1 and is 2"]),
        ({"model__batch_tokens": 77}, ["model.batch_tokens was", "is 77"]),
        ({"prompts__template": "Now {word} {count}"}, ["prompts.template", "request 0"]),
        ({"prompts__remove_date_lines": False, "prompts__system": "Be kind."}, ["prompts.system", "request 0"]),
    ],
)
def test_a_changed_spec_is_refused_with_the_fields_that_differ(
    spec: Spec, copied: Copied, fields: dict[str, Any], named: list[str]
) -> None:
    root = copied()
    files = contents(root)
    with pytest.raises(SpecError) as refused:
        make_dataset(changed(spec, **fields), root)
    assert all(words in str(refused.value) for words in named), str(refused.value)
    assert str(refused.value).endswith("change them back, choose another --output, or start again with --fresh")
    assert contents(root) == files


def test_a_site_that_the_model_lacks_is_refused_before_anything_is_written(
    spec: Spec, copied: Copied, tmp_path: Path
) -> None:
    root = copied()
    files = contents(root)
    for place in (root, tmp_path / "new"):
        with pytest.raises(SpecError, match=r"resid_post\.9"):
            make_dataset(changed(spec, states__sites=("resid_post.9",)), place)
    assert contents(root) == files
    assert not (tmp_path / "new").exists()


def test_fresh_moves_the_earlier_dataset_aside(spec: Spec, copied: Copied, engine: TransformersEngine) -> None:
    root = copied()
    files = contents(root)
    for number in (1, 2):
        make_dataset(spec, root, fresh=True, engine=engine)
        assert contents(root.with_name(f"data.old-{number}")) == files
        assert contents(root) == files


def test_fresh_never_moves_a_folder_that_is_no_dataset(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("all of it")
    with pytest.raises(latentext.errors.DatasetError, match=r"holds other files \(thesis.txt\)"):
        make_dataset(spec, tmp_path / "home", fresh=True)
    assert (tmp_path / "home" / "thesis.txt").exists()
