"""Faults with valid receipts are planted in a sound dataset, and each must be found; damage is named and rebuilt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.run.made import SITES, contents, small_spec

from latentext.dataset import layout
from latentext.dataset.receipts import read_receipt, write_receipt
from latentext.dataset.records import read_records, write_records
from latentext.dataset.restoring import completions_of, requests_of, states_of
from latentext.dataset.stages import StatesStage, read_stage
from latentext.dataset.states import StatesWriter
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import SpecError
from latentext.request import StateRows
from latentext.run.runner import capture_states, make_dataset
from latentext.run.verification import verify
from latentext.spec import Spec, StatesSpec

Copied = Callable[..., Path]
RECORDS = "records/s0000-0000"


def the_capture(root: Path) -> str:
    return next(stage for stage in layout.list_stages(root, "states") if "2-sites" in stage)


def reseal(root: Path, stage: str, shard: int, **changed: object) -> None:
    """Write a shard's receipt again, so that it fits what is there now."""
    path = root / stage / layout.receipt_name(shard)
    receipt = read_receipt(path)
    fields = {name: getattr(receipt, name) for name in type(receipt).model_fields} | changed
    write_receipt(path, **{n: v for n, v in fields.items() if n not in ("format_version", "sha256")})


def rewrite_states(root: Path, stage: str, change: Callable[[StateRows], StateRows]) -> None:
    """Change every text's states, with new receipts that describe them."""
    capture = read_stage(root, stage, StatesStage)
    for shard in layout.list_shards(root, stage):
        texts = list(states_of(root, stage, shard, tuple(capture.widths)))
        writer = StatesWriter(root / stage, shard, capture.widths, getattr(torch, capture.dtype))
        for rows in texts:
            changed = change(rows)
            writer.add(replace(changed, tensors={k: v.contiguous() for k, v in changed.tensors.items()}))
        reseal(root, stage, shard, files=writer.close())


def rewrite_prompts(root: Path, change: Callable[[list[int]], list[int]]) -> None:
    """Change every prompt's ids, with states at the rows that then follow, as an engine with that fault would."""
    captures = layout.list_stages(root, "states")
    for shard in layout.list_shards(root, RECORDS):
        path = root / RECORDS / layout.table_name(shard)
        before = requests_of(read_records([path]))
        requests = [replace(r, prompt_token_ids=change(list(r.prompt_token_ids))) for r in before]
        moved = len(requests[0].prompt_token_ids) - len(before[0].prompt_token_ids)
        entry = write_records(path, requests, completions_of(read_records([path])))
        counts = dict(read_receipt(root / RECORDS / layout.receipt_name(shard)).counts)
        counts["prompt_tokens"] += moved * len(requests)
        reseal(root, RECORDS, shard, files=[entry], counts=counts)
        for stage in captures:
            reseal(root, stage, shard, upstream={f"{RECORDS}/{entry.name}": entry.sha256})
    for stage in captures:
        rewrite_states(root, stage, lambda rows: replace(rows, position=rows.position + moved))


def shifted_by_a_row(root: Path) -> None:
    rewrite_states(
        root,
        the_capture(root),
        lambda rows: replace(rows, tensors={k: torch.roll(v, 1, 0) for k, v in rows.tensors.items()}),
    )


def sites_exchanged(root: Path) -> None:
    one, other = SITES
    rewrite_states(
        root,
        the_capture(root),
        lambda rows: replace(rows, tensors={one: rows.tensors[other], other: rows.tensors[one]}),
    )


def taken_before_the_norm(root: Path) -> None:
    """The last block's output in the place of final_norm's, as a reader of the wrong index gets it."""
    before = next(s for s in layout.list_stages(root, "states") if "resid_post.4" in s)
    last = {
        (rows.index, rows.sample): rows.tensors["resid_post.4"]
        for shard in layout.list_shards(root, before)
        for rows in states_of(root, before, shard, ("resid_post.4",))
    }
    rewrite_states(
        root,
        the_capture(root),
        lambda rows: replace(rows, tensors={**rows.tensors, "final_norm": last[rows.index, rows.sample]}),
    )


def one_state_off(root: Path) -> None:
    """One number of one row of one text."""

    def change(rows: StateRows) -> StateRows:
        if rows.index == 5:
            rows.tensors["final_norm"][7, 20] += 0.01
        return rows

    rewrite_states(root, the_capture(root), change)


def doubled_bos(root: Path) -> None:
    rewrite_prompts(root, lambda ids: [1, *ids])


def missing_bos(root: Path) -> None:
    rewrite_prompts(root, lambda ids: ids[1:])


def another_prompt(root: Path) -> None:
    rewrite_prompts(root, lambda ids: [ids[0], ids[2], ids[1], *ids[3:]])


@pytest.fixture(scope="module")
def sound(spec: Spec, finished: Path, engine: TransformersEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished dataset with the last block's output as well."""
    root = tmp_path_factory.mktemp("sound") / "data"
    shutil.copytree(finished, root)
    capture_states(root, StatesSpec(sites=("resid_post.4",)), engine=engine)
    return root


def test_nothing_is_found_in_a_sound_dataset(sound: Path) -> None:
    assert verify(sound) == []
    assert verify(sound, sample=0) == []


def test_the_tools_of_these_tests_plant_nothing_by_themselves(sound: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(sound, tmp_path / "data"))
    rewrite_states(root, the_capture(root), lambda rows: rows)
    rewrite_prompts(root, lambda ids: ids)
    assert contents(root) == contents(sound)


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (shifted_by_a_row, ["final_norm at position", "is off by", "when computed again"]),
        (sites_exchanged, ["final_norm at position", "resid_post.1 at position"]),
        (taken_before_the_norm, ["final_norm at position"]),
        (
            one_state_off,
            ["request 5, sample 0: layer 5, final_norm at position", "is off by 0.01 in component 20 ", "1 of 10 rows"],
        ),
        (doubled_bos, ["begin with two BOS, request 0 first"]),
        (missing_bos, ["do not begin with BOS, request 0 first"]),
        (another_prompt, ["its prompt ids are not those of its messages"]),
    ],
)
def test_a_fault_with_valid_receipts_is_found(
    sound: Path, tmp_path: Path, plant: Callable[[Path], None], words: list[str]
) -> None:
    root = Path(shutil.copytree(sound, tmp_path / "data"))
    plant(root)
    found = "\n".join(map(str, verify(root)))
    assert all(word in found for word in words), found


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flipped, truncated, Path.unlink])
@pytest.mark.parametrize(
    "name",
    [
        f"{RECORDS}/00001.parquet",
        f"{RECORDS}/00001.receipt.json",
        "states/2-sites-*/00002-000.safetensors",
        "states/2-sites-*/00002.receipt.json",
        "states/resid_post.4-*/00003-000.safetensors",
        "states/resid_post.4-*/00003.receipt.json",
    ],
)
def test_a_damaged_file_is_named_by_verify_and_rebuilt_by_run(
    spec: Spec, sound: Path, tmp_path: Path, engine: TransformersEngine, damage: Callable[[Path], None], name: str
) -> None:
    root = Path(shutil.copytree(sound, tmp_path / "data"))
    (path,) = root.glob(name)
    damage(path)
    named = {finding.path for finding in verify(root, sample=0)}
    folder, shard = path.parent.relative_to(root).as_posix(), path.name[:5]
    assert any(place.startswith(f"{folder}/{shard}") for place in named), named
    make_dataset(spec, root, engine=engine)
    assert contents(root) == contents(sound)
    assert verify(root, sample=0) == []


def other_weights(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"] += 0.5
    save_file(weights, model / "model.safetensors", {"format": "pt"})


def other_tokenizer(model: Path) -> None:
    path = model / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"] = content["model"]["merges"][:-1]
    path.write_text(json.dumps(content))


def other_template(model: Path) -> None:
    (model / "chat_template.jinja").write_text("{{ messages[0].content }}, they said.")


@pytest.mark.parametrize(
    ("change", "field", "found"),
    [
        (other_weights, "model", "has other weights now than when the texts were made"),
        (other_tokenizer, "tokenizer", "the tokenizer of"),
        (other_template, "tokenizer", "the tokenizer of"),
    ],
)
def test_a_model_whose_files_changed_is_refused_by_run_and_named_by_verify(
    sound: Path, tmp_path: Path, stories260k: Path, change: Callable[[Path], None], field: str, found: str
) -> None:
    model = Path(shutil.copytree(stories260k, tmp_path / "model"))
    make_dataset(small_spec(model, counts=1), tmp_path / "data")
    files = contents(tmp_path / "data")
    change(model)
    with pytest.raises(SpecError, match=rf"made with other settings: {field} was [0-9a-f]+… and is [0-9a-f]+…;"):
        make_dataset(small_spec(model, counts=1), tmp_path / "data")
    assert contents(tmp_path / "data") == files
    (finding,) = verify(tmp_path / "data")
    assert finding.path == layout.PROVENANCE
    assert found in finding.what
