"""What a run writes before it has worked, or before it is refused: nothing that later runs would meet."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.run.made import contents, small_spec

import latentext
from latentext.cli.app import exit_code
from latentext.dataset.documents import read_spec
from latentext.dataset.stages import write_stage
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import DatasetError, LatentextError, SpecError
from latentext.run.progress import NoProgress
from latentext.run.runner import capture_states, make_dataset, score_texts
from latentext.run.status import status
from latentext.run.verification import verify
from latentext.spec import Spec, StatesSpec
from latentext.spec.files import load_spec
from latentext.studies.align.text_bank import open_bank

Copied = Callable[..., Path]

FUNCTIONS = """
from latentext.rewards import reward

@reward("raises")
def raises(candidate):
    raise KeyError("no such word")

@reward("mine")
def mine(candidate):
    return float(len(candidate.text))
"""


class Heard(NoProgress):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    path = tmp_path / "functions.py"
    path.write_text(FUNCTIONS)
    return path


@pytest.fixture
def prompts_in_a_file(tmp_path: Path, stories260k: Path) -> Callable[..., Spec]:
    def make(first: str = "one", last: str = "five", suffix: str = "") -> Spec:
        lines = [first, "two", "three", "four", last]
        name = tmp_path / "rows.csv"
        name.write_text("q\n" + "\n".join(lines) + "\n" + suffix)
        fields = {"file": str(name), "template": "{q}", "use_chat_template": False}
        return small_spec(stories260k, prompts=fields)

    return make


# Rewards.


def test_a_reward_that_fails_is_no_part_of_the_dataset(
    copied: Copied, functions: Path, engine: TransformersEngine, spec: Spec
) -> None:
    root = copied()
    score_texts(root, ["length"], engine=engine)
    before = contents(root)
    with pytest.raises(LatentextError, match="reward raises failed on the text"):
        score_texts(root, [f"{functions}:raises"], engine=engine)
    assert contents(root) == before
    score_texts(root, ["diversity"], engine=engine)
    make_dataset(spec, root, engine=engine)
    score_texts(root, engine=engine)
    assert list(latentext.open_dataset(root).score_sets) == ["diversity", "length"]
    assert read_spec(root).rewards == ("length", "diversity")
    assert status(root).complete


def test_a_new_dataset_whose_reward_fails_goes_on_without_it(
    functions: Path, tmp_path: Path, engine: TransformersEngine, spec: Spec
) -> None:
    root = tmp_path / "new"
    rewards = ("length", f"{functions}:raises", "diversity")
    with pytest.raises(LatentextError, match="reward raises failed"):
        make_dataset(spec.model_copy(update={"rewards": rewards}), root, engine=engine)
    assert read_spec(root).rewards == ("length",)
    make_dataset(spec.model_copy(update={"rewards": ("length", "diversity")}), root, engine=engine)
    assert status(root).complete
    assert verify(root) == []


def test_a_dataset_of_an_earlier_version_that_names_a_failing_reward_is_free_again(
    copied: Copied, functions: Path, tmp_path: Path, engine: TransformersEngine, spec: Spec
) -> None:
    """Version 0.1.0 wrote a reward into the spec, and an empty folder, before it had worked."""
    root = copied()
    score_texts(root, ["length"], engine=engine)
    (root / "scores/raises-0123abcd").mkdir()
    stage = next((root / "scores").glob("length-*/stage.json"))
    from latentext.dataset.sealed import read_sealed, write_sealed

    write_sealed(root / "scores/raises-0123abcd/stage.json", {**read_sealed(stage), "reward": "raises"})
    gone = {"name": "gone", "classifier": str(tmp_path / "no-such-model")}
    text = (root / "spec.yaml").read_text()
    (root / "spec.yaml").write_text(
        text.replace("rewards: [length]", f"rewards: ['{functions}:raises', length, {gone}]".replace("'name'", "name"))
    )
    heard = Heard()
    score_texts(root, ["diversity"], engine=engine, progress=heard)
    make_dataset(spec, root, engine=engine, progress=heard)
    assert any("only" in note and "names this code; to run it: --reward" in note for note in heard.notes)
    assert any(note.startswith("not scored by gone, which the dataset had before:") for note in heard.notes)
    assert open_bank(copied_bank(root)).bank.names == ("length", "diversity")


def copied_bank(root: Path) -> Path:
    """The dataset as one that was sampled, which a bank has to be."""
    text = (root / "spec.yaml").read_text()
    (root / "spec.yaml").write_text(text.replace("temperature: 0.0", "temperature: 1.0"))
    return root


def test_another_version_of_a_reward_takes_the_place_of_the_first(copied: Copied, engine: TransformersEngine) -> None:
    root = copied()
    score_texts(root, [{"name": "polite", "words": ["please"]}, "length"], engine=engine)
    score_texts(root, [{"name": "polite", "words": ["thanks"]}], engine=engine)
    assert read_spec(root).rewards == ({"name": "polite", "words": ["thanks"]}, "length")
    score_texts(root, engine=engine)
    assert sum(name.startswith("polite-") for name in latentext.open_dataset(root).rewards) == 2


def test_after_an_edit_of_a_rewards_file_the_dataset_is_complete_again(
    copied: Copied, functions: Path, engine: TransformersEngine
) -> None:
    root = copied()
    score_texts(root, [f"{functions}:mine"], engine=engine)
    first = next((root / "scores").iterdir())
    (first / "00003.receipt.json").unlink()  # As if the edit came while it was scored.
    assert not status(root).complete
    functions.write_text(FUNCTIONS.replace("len(candidate.text)", "len(candidate.text) + 1"))
    score_texts(root, [f"{functions}:mine"], engine=engine)
    assert "(another version of it is whole)" in str(status(root))
    assert str(status(root)).endswith("\ncomplete")


def test_code_that_scored_everything_is_not_spoken_of(
    copied: Copied, functions: Path, engine: TransformersEngine, spec: Spec
) -> None:
    root, heard = copied(), Heard()
    score_texts(root, [f"{functions}:mine"], engine=engine)
    make_dataset(spec, root, engine=engine, progress=heard)
    assert not any("not scored" in note for note in heard.notes)
    grown = spec.model_copy(update={"decoding": spec.decoding.model_copy(update={"n": 2})})
    make_dataset(grown, root, engine=engine, progress=heard)
    assert sum("not scored by" in note for note in heard.notes) == 1
    assert not status(root).complete
    score_texts(root, [f"{functions}:mine"], engine=engine)
    assert status(root).complete


@pytest.mark.parametrize("line", ["raise SystemExit(0)", "1 / 0", "import no_such_module", "def f(:"])
def test_a_rewards_file_that_cannot_be_imported_is_named(
    line: str, copied: Copied, tmp_path: Path, engine: TransformersEngine
) -> None:
    (tmp_path / "bad.py").write_text(line)
    root = copied()
    before = contents(root)
    with pytest.raises(SpecError, match=r"bad\.py: cannot be imported: "):
        score_texts(root, [f"{tmp_path / 'bad.py'}:f"], engine=engine)
    assert contents(root) == before


# Captures.


@pytest.mark.parametrize("earlier_version", [False, True])
def test_a_capture_that_fails_holds_up_no_other(
    earlier_version: bool, copied: Copied, spec: Spec, engine: TransformersEngine
) -> None:
    root, heard = copied(), Heard()
    wedged = StatesSpec(sites=("embed",), pool=("entropy_mean",))  # The texts have no entropies.
    if earlier_version:  # 0.1.0 wrote what it would capture before it could.
        from latentext.run.captures import missing_capture, shape_of_layout, stage_of

        layout, samples = engine.loaded.layout, range(1)
        settings = next(iter(latentext.open_dataset(root).captures.values())).settings
        capture = missing_capture(
            wedged, {}, samples, shape=shape_of_layout(layout), dtype=torch.float32, replay_only=True, settings=settings
        )
        assert capture is not None
        write_stage(root, stage_of(capture), capture)
    before = contents(root)
    with pytest.raises(SpecError, match="the texts have no entropies"):
        capture_states(root, wedged, engine=engine)
    assert earlier_version or contents(root) == before
    capture_states(root, StatesSpec(sites=("embed",)), engine=engine, progress=heard)
    grown = spec.model_copy(update={"decoding": spec.decoding.model_copy(update={"n": 2})})
    make_dataset(grown, root, engine=engine, progress=heard)
    assert (
        latentext.open_dataset(root).states("embed").shape[0]
        == latentext.open_dataset(root).states("final_norm").shape[0]
    )
    assert any("not made: states.pool: entropy_mean" in note for note in heard.notes) == earlier_version
    assert status(root).complete != earlier_version


# Refused runs.


@pytest.mark.parametrize("change", ["first", "shorter", "other seed", "other model", "gzip", "other format"])
def test_a_refused_run_changes_nothing(
    change: str, prompts_in_a_file: Callable[..., Spec], tmp_path: Path, engine: TransformersEngine
) -> None:
    root = tmp_path / "d"
    spec = prompts_in_a_file()
    make_dataset(spec, root, engine=engine)
    before = contents(root)
    refused = spec
    if change == "first":
        prompts_in_a_file(first="other")
    elif change == "shorter":
        (tmp_path / "rows.csv").write_text("q\none\ntwo\n")
    elif change == "gzip":
        import gzip

        (tmp_path / "rows.csv").write_bytes(gzip.compress(b"q\nother\ntwo\nthree\nfour\nfive\n"))
    elif change == "other format":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"q": ["other", "two", "three", "four", "five"]}), tmp_path / "rows.parquet")
        prompts = spec.prompts.model_copy(
            update={"file": spec.prompts.file.model_copy(update={"path": str(tmp_path / "rows.parquet")})}
        )
        refused = spec.model_copy(update={"prompts": prompts})
    elif change == "other seed":
        refused = spec.model_copy(update={"seed": 5})
    else:
        prompts_in_a_file(first="other")
        refused = load_spec({**spec.model_dump(mode="json"), "decoding": {"max_new_tokens": 11}})
    with pytest.raises(SpecError, match=r"prompts|this directory was made with"):
        make_dataset(refused, root, engine=engine)
    assert contents(root) == before
    assert not (root / "plan/.before").exists()
    prompts_in_a_file()
    assert verify(root) == []
    make_dataset(spec, root, engine=engine)
    assert contents(root) == before


def test_a_refused_run_that_was_killed_is_undone_by_the_next(
    prompts_in_a_file: Callable[..., Spec], tmp_path: Path, engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latentext.prompts import before as kept

    root, spec = tmp_path / "d", prompts_in_a_file()
    make_dataset(spec, root, engine=engine)
    whole = contents(root)
    prompts_in_a_file(first="other")
    with monkeypatch.context() as patched:
        patched.setattr(kept, "put_back", lambda directory: None)  # It does not come to that.
        with pytest.raises(SpecError):
            make_dataset(spec, root, engine=engine)
    assert (root / "plan/.before").exists()
    prompts_in_a_file()
    make_dataset(spec, root, engine=engine)
    assert contents(root) == whole


def test_an_input_that_grew_is_accepted_as_before(
    prompts_in_a_file: Callable[..., Spec], tmp_path: Path, engine: TransformersEngine
) -> None:
    root, spec = tmp_path / "d", prompts_in_a_file()
    make_dataset(spec, root, engine=engine)
    prompts_in_a_file(suffix="six\n")
    assert make_dataset(spec, root, engine=engine).accepted == 6
    assert verify(root) == []
    assert not (root / "plan/.before").exists()


def test_a_run_that_is_refused_leaves_no_directory(tmp_path: Path, engine: TransformersEngine) -> None:
    prompts = {"file": str(tmp_path / "absent.jsonl"), "template": "{q}"}
    with pytest.raises(SpecError, match="no such file"):
        make_dataset(small_spec("tiny", prompts=prompts), tmp_path / "new", engine=engine)
    assert not (tmp_path / "new").exists()


def test_fresh_moves_nothing_aside_for_a_run_that_is_refused(
    copied: Copied, tmp_path: Path, engine: TransformersEngine
) -> None:
    root = copied()
    before = contents(root)
    prompts = {"file": str(tmp_path / "absent.jsonl"), "template": "{q}"}
    for refused in (small_spec("tiny", prompts=prompts), small_spec("tiny", states={"sites": ["resid_post.99"]})):
        with pytest.raises(SpecError):
            make_dataset(refused, root, engine=engine, fresh=True)
        assert contents(root) == before
        assert [path.name for path in root.parent.iterdir() if ".old-" in path.name] == []


# Folders that went elsewhere.


@pytest.mark.parametrize("name", ["records", "states", "scores", "records/s0000-0000"])
def test_a_folder_on_another_disk_is_followed_by_readers_and_writers(
    name: str, copied: Copied, tmp_path: Path, spec: Spec, engine: TransformersEngine
) -> None:
    root = copied()
    score_texts(root, ["length"], engine=engine)
    (root / name).rename(tmp_path / "elsewhere")
    (root / name).symlink_to(tmp_path / "elsewhere")
    before = contents(tmp_path / "elsewhere")
    assert make_dataset(spec, root, engine=engine).tokens == 0  # Nothing is made again.
    assert contents(tmp_path / "elsewhere") == before
    assert status(root).complete
    assert verify(root) == []
    assert latentext.open_dataset(root).records().num_rows == 8
    grown = spec.model_copy(update={"decoding": spec.decoding.model_copy(update={"n": 2})})
    make_dataset(grown, root, engine=engine)
    score_texts(root, ["length"], engine=engine)
    assert verify(root) == [] and (root / name).is_symlink()
    if "/" not in name:
        assert len(contents(tmp_path / "elsewhere")) == 2 * len(before)


def test_a_link_into_another_dataset_is_not_written_through(
    copied: Copied, tmp_path: Path, spec: Spec, engine: TransformersEngine
) -> None:
    root, other = copied(), tmp_path / "other"
    shutil.copytree(root, other)
    shutil.rmtree(root / "records")
    (root / "records").symlink_to(other / "records")
    before = contents(other)
    with pytest.raises(DatasetError, match="records: a symbolic link into another dataset"):
        make_dataset(spec.model_copy(update={"rewards": ("length",)}), root, engine=engine)
    assert contents(other) == before


def test_a_dataset_without_its_records_is_not_complete(
    copied: Copied, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copied()
    shutil.rmtree(root / "records")
    assert not status(root).complete
    assert "      0 of 4 shards  texts\n" in str(status(root))
    for form, ending in (("jsonl", "jsonl"), ("parquet", "parquet"), ("npy", "npy")):
        assert exit_code(["export", str(root), str(tmp_path / f"e.{ending}"), "--to", form]) == 1
        assert "has no texts; run its spec, or put its records/ back in place" in capsys.readouterr().err
        assert not (tmp_path / f"e.{ending}").exists()


@pytest.mark.parametrize("gone", ["states", "scores", "plan/plan.json"])
def test_what_the_spec_asks_for_and_is_gone_is_not_complete(gone: str, copied: Copied, engine: Any) -> None:
    root = copied()
    score_texts(root, ["length"], engine=engine)
    assert status(root).complete
    shutil.rmtree(root / gone) if (root / gone).is_dir() else (root / gone).unlink()
    assert not status(root).complete


def test_an_export_of_an_unfinished_run_says_what_is_missing(
    copied: Copied, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copied()
    for number in (1, 3):
        for stage in ("records/s0000-0000", next((root / "states").iterdir()).relative_to(root)):
            (root / stage / f"0000{number}.receipt.json").unlink()
    (root / "metadata.json").unlink()
    for form, name in (("jsonl", "e.jsonl"), ("parquet", "e.parquet"), ("npy", "e")):
        code = exit_code(["export", str(root), str(tmp_path / name), "--to", form])
        assert code == (1 if form == "npy" else 0)  # Four texts are too few for a split.
        assert "unfinished: 4 of 8 texts are there; run its spec again for the others" in capsys.readouterr().err


# A run that is at work.


def test_verify_beside_a_running_run_looks_at_what_is_finished(
    copied: Copied, engine: TransformersEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    from latentext.storage.lease import Leases

    root = copied()
    (root / "metadata.json").unlink()
    (root / "records/s0000-0000/00002.receipt.json").unlink()
    leases = Leases(root)
    with leases.take("records/s0000-0000/00002") as held:
        assert held
        assert exit_code(["verify", str(root), "--sample", "0"]) == 1  # Its states are of records that are not there.
        capsys.readouterr()
        for number in range(4):
            for folder in (root / "states").iterdir():
                if number == 2:
                    (folder / f"0000{number}.receipt.json").unlink()
        assert exit_code(["verify", str(root), "--sample", "0"]) == 0
        assert "no faults found in what is finished; a run is at work (process " in capsys.readouterr().out
        (root / "records/s0000-0000/00001.parquet").write_bytes(b"cut")
        assert exit_code(["verify", str(root), "--sample", "0"]) == 1
        assert "00001.parquet: 3 bytes, its receipt says" in capsys.readouterr().out
    leases.close()
    assert exit_code(["verify", str(root), "--sample", "0"]) == 1
