"""`latentext complete`: the original's command line, sweeps that load a model once, exports, the report."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import latentext
from latentext.cli.app import exit_code
from latentext.engines import opening
from latentext.engines.server.journal import read_spend
from latentext.engines.server.standin import StandIn
from latentext.export.completion_splits import completion_splits
from latentext.models.registry import registered_models
from latentext.spec import ModelSpec, SplitSpec
from latentext.studies.complete import Grid, grid_specs
from latentext.studies.complete.grid import FULL_CORPORA, FULL_MODELS, FULL_PROMPTS, FULL_TEMPERATURES

SWEEP = "dailydialog_prompt_{}_temp0-1"
TEMPERATURES = (0.0, 1.0)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    sources = ["A: hello. \nB: how are you?", "A: it rains.", "A: hello. \nB: how are you?", "A: where is it?"]
    lines = [
        {
            "id": f"d{number}",
            "source": source,
            "human_completions": f"B: well, number {number}.",
            "annotations": {"n": 1},
        }
        for number, source in enumerate(sources)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, rows: Path, stories260k: Path) -> tuple[Path, list[str]]:
    """Two models, two prompts, two temperatures by the original's short names; and which models were loaded."""
    output = tmp_path_factory.mktemp("sweep") / "out"
    loaded: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        load_model = opening.load_model

        def counted(model: ModelSpec) -> object:
            loaded.append(Path(model.name).name)
            return load_model(model)

        patch.setattr(opening, "load_model", counted)
        command = ["complete", "-d", "dailydialog", "--data", str(rows), "-mdl", f"tiny,{stories260k}", "-prompt_n"]
        command += ["1,21", "-subset", "9", "-temperature", "0,1", "-batch", "3", "-hf", "-o", str(output)]
        assert exit_code([*command, "--set", "decoding.max_new_tokens=8"]) == 0
    return output, loaded


def test_each_model_is_loaded_once_for_all_its_datasets(sweep: tuple[Path, list[str]]) -> None:
    assert sweep[1] == ["tiny", "stories260k"]


def test_a_sweep_has_a_folder_for_each_model_and_temperature_is_a_variable(sweep: tuple[Path, list[str]]) -> None:
    folder = sweep[0] / "transformers"
    assert sorted(path.name for path in folder.iterdir()) == ["stories260k", "tiny"]
    assert sorted(path.name for path in (folder / "tiny").iterdir()) == [SWEEP.format(1), SWEEP.format(21)]
    data = latentext.open_dataset(folder / "tiny" / SWEEP.format(21))
    frame = data.to_pandas()
    assert sorted(frame["temperature"].unique()) == [0.0, 1.0]
    assert len(frame) == 8
    spec = data.spec
    assert (spec.seed, spec.decoding.top_k, spec.decoding.top_p) == (129, 50, 1.0)
    assert (spec.decoding.repetition_penalty, spec.model.batch_size) == (1.0, 3)
    receipt = json.loads((data.directory / "records" / "s0000-0000" / "00000.receipt.json").read_text())
    assert receipt["how"]["slots"] == 3


def test_the_defaults_are_the_originals(tmp_path: Path) -> None:
    """Source: the seed's table of arguments, and the issue's list of decoding options."""
    (spec,) = grid_specs(Grid())
    assert (spec.model.name, spec.model.engine, spec.prompts.corpus) == ("beluga7b", "vllm", "stories")
    assert (spec.prompts.task, spec.prompts.limit, spec.seed) == (1, None, 129)
    decoding = spec.decoding
    assert (decoding.temperature, decoding.top_k, decoding.top_p, decoding.repetition_penalty) == (1.0, 50, 1.0, 1.0)


def test_the_whole_grid_is_the_originals() -> None:
    specs = list(grid_specs(Grid(FULL_MODELS, FULL_CORPORA, FULL_PROMPTS, FULL_TEMPERATURES)))
    assert len(specs) == 4 * 4
    assert [spec.model.name for spec in specs[::4]] == ["llama2_chat7b", "llama2_chat13b", "beluga7b", "mistral7b"]
    assert {spec.prompts.corpus for spec in specs} == {"dailydialog", "dailymail_cnn", "mrpc", "stories"}
    assert all(spec.decoding.temperatures == (1.0, 1.5, 2.0) and spec.prompts.task == 21 for spec in specs)
    assert set(FULL_MODELS) <= set(registered_models())


def test_the_original_layout_has_its_folders_names_and_fields(sweep: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Source: published files of the comparison: their paths, field names, and sample_params as a dictionary's text."""
    assert exit_code(["export", str(sweep[0]), str(tmp_path / "out"), "--to", "ai_datasets"]) == 0
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.ndjson"))
    assert files == [
        f"HF/SUBSET_DATA/{model}/dailydialog_prompt_{number}_temp{temperature}.ndjson"
        for model in ("stories260k", "tiny")
        for number in (1, 21)
        for temperature in (0, 1)
    ]
    path = tmp_path / "out" / "HF" / "SUBSET_DATA" / "tiny" / "dailydialog_prompt_21_temp1.ndjson"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    names = ["id", "annotations", "prompt_21", "tiny_completions", "sample_params", "doc_length"]
    assert [list(line) for line in lines] == [names] * 4
    assert lines[0]["sample_params"] == (
        "{'presence_penalty': 0, 'frequency_penalty': 0, 'max_tokens': 8, 'temperature': 1, 'top_k': 50, 'top_p': 1, "
        "'repetition_penalty': 1, 'length_penalty': 1}"
    )
    import spacy

    nlp = spacy.blank("en")
    assert [line["doc_length"] for line in lines] == [len(nlp(line["tiny_completions"])) for line in lines]


def test_the_tidy_file_has_a_row_a_text_and_keeps_sources_in_one_split(
    sweep: tuple[Path, list[str]], tmp_path: Path
) -> None:
    # With shares of 0.1 four sources leave no validation set: the error says so, and another split is taken.
    assert exit_code(["export", str(sweep[0]), str(tmp_path / "t.parquet"), "--to", "tidy"]) == 1
    for spec in sweep[0].rglob("spec.yaml"):
        text = spec.read_text()
        spec.write_text(text.replace("split: {by: source, test: 0.1}", "split: {by: source, val: 0.34, test: 0.34}"))
    assert exit_code(["export", str(sweep[0]), str(tmp_path / "t.parquet"), "--to", "tidy"]) == 0
    table = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert len(table) == 2 * 2 * 2 * 4
    wanted = {
        "id",
        "source",
        "human",
        "model",
        "prompt",
        "temperature",
        "completion",
        "finish_reason",
        "tokens",
        "seed",
    }
    assert wanted <= set(table[0])
    by_source: dict[str, set[str]] = {}
    for row in table:
        by_source.setdefault(row["source"], set()).add(row["split"])
    assert len(by_source) == 3
    assert sorted(split for splits in by_source.values() for split in splits) == ["test", "train", "val"]


def test_splits_are_stratified_by_corpus_and_join_equal_sources() -> None:
    rows = [{"corpus": c, "id": f"{c}{n}", "source": f"{c} {n // 2}"} for c in "ab" for n in range(20)]
    rows.append({"corpus": "b", "id": "b-twin", "source": "a 0"})
    splits = completion_splits(rows, SplitSpec(val=0.2, test=0.1))
    for corpus in "ab":
        found = [splits[corpus, f"{corpus}{n}"] for n in range(20)]
        assert {name: found.count(name) for name in ("train", "val", "test")} == {"train": 14, "val": 4, "test": 2}
        assert all(found[n] == found[n + 1] for n in range(0, 20, 2))
    assert splits["b", "b-twin"] == splits["a", "a0"]


def test_the_report_sets_people_and_models_side_by_side(sweep: tuple[Path, list[str]], tmp_path: Path) -> None:
    assert exit_code(["report", str(sweep[0]), "-o", str(tmp_path / "r")]) == 0
    page = (tmp_path / "r" / "index.html").read_text()
    for text in ("people", "stories260k", "B: well, number 0.", "People and models in numbers", "refusals"):
        assert text in page
    assert (tmp_path / "r" / "completion_lengths_dailydialog.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["-d", "tales"],
            "no corpus of completions is called 'tales'; known are dailydialog, dailymail_cnn, mrpc, stories",
        ),
        (["-mdl", "beluga8b"], "no model is called 'beluga8b'; known are tiny, beluga7b"),
        (["-prompt_n", "9"], "dailydialog has no prompt 9; its prompts are: 1, 2, 3, 4, 5, 6, 7, 8, 21"),
        (["-prompt_n", "one"], "one is not whole numbers"),
        (["-temperature", "1,-0.5"], "-0.5 is below 0"),
        (["-subset", "0"], "-subset"),
        (["-batch", "0"], "-batch"),
        (["--chat-format", "alpaca"], "no chat format is called 'alpaca'"),
        (["--data", "nowhere.jsonl"], "no such file"),
        (["-hf", "--engine", "vllm"], "leave one out"),
        (["-mdl", "llama2_chat70bQ", "-hf"], "stored as gptq-4bit, which is read on a GPU only"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_made(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    defaults = {"-d": ["dailydialog", "--data", str(rows)], "-mdl": ["tiny"], "-o": [str(tmp_path / "out")]}
    command = [word for name, values in defaults.items() if name not in arguments for word in (name, *values)]
    code = exit_code(["complete", *command, *arguments])
    error = capsys.readouterr().err
    assert code == 2
    assert complaint in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_vllm_the_line_says_how_to_install_it_or_do_without(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentext.studies.complete.sweep.find_spec", lambda name: None)
    assert exit_code(["complete", "-d", "mrpc", "--data", str(rows), "-mdl", "tiny", "-o", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert "vLLM is not installed; pip install 'latentext[vllm]' (it needs a GPU), or give -hf" in error


def test_a_model_that_fails_does_not_cost_the_others(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a network a model of the hub cannot be had; the sweep goes on and says so at its end."""
    command = ["complete", "-d", "mrpc", "--data", str(rows), "-mdl", "qwen3-8b,tiny", "-subset", "1", "-hf"]
    assert exit_code([*command, "-o", str(tmp_path / "o"), "--set", "decoding.max_new_tokens=2"]) == 2
    captured = capsys.readouterr()
    assert "qwen3-8b, mrpc_prompt_1_temp1: model qwen3-8b: not in the local cache" in captured.err
    assert "1 of 2 datasets complete" in captured.out


def test_a_source_longer_than_the_context_is_recorded_and_the_others_go_on(tmp_path: Path, stories260k: Path) -> None:
    sources = ["word " * 600, "A short one.", " "]
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": number, "source": source, "human_completions": "x y"}) + "\n"
            for number, source in enumerate(sources)
        )
    )
    command = [
        "complete",
        "-d",
        "mrpc",
        "--data",
        str(path),
        "-mdl",
        str(stories260k),
        "-hf",
        "-o",
        str(tmp_path / "o"),
    ]
    assert exit_code([*command, "--set", "decoding.max_new_tokens=4"]) == 4
    (root,) = (path.parent for path in (tmp_path / "o").rglob("failures.jsonl"))
    reasons = [json.loads(line)["reason"] for line in (root / "failures.jsonl").read_text().splitlines()]
    assert sorted(reasons) == ["empty-source", "prompt-too-long"]
    assert latentext.open_dataset(root).records(["index"])["index"].to_pylist() == [1]


def test_the_limits_of_a_corpus_are_measured_by_one_command(
    materials: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = materials / "prompts" / "dailydialog-500.ndjson"
    assert exit_code(["corpora", "dailydialog", "--data", str(path)]) == 0
    assert "limits: [4, 108] (of these texts; of the whole corpus: [4, 112])" in capsys.readouterr().out


def test_a_cap_on_money_holds_for_the_whole_sweep(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cap of what the first dataset cost leaves nothing for the second."""
    with StandIn() as server:
        command = ["complete", "-d", "mrpc", "--data", str(rows), "-mdl", "gpt-4o", "--engine", "openai"]
        command += ["--length", "none", "-o", str(tmp_path / "o"), "--set", f"model.api.base_url={server.url}"]
        command += ["--set", "model.api.prices=openai", "--set", "decoding.max_new_tokens=5"]
        assert exit_code([*command, "-prompt_n", "1"]) == 0
        [journal] = (tmp_path / "o").rglob("journal.sqlite")
        spent, asked = read_spend(journal), len(server.asked)
        assert spent is not None and spent.cost
        capsys.readouterr()
        assert exit_code([*command, "-prompt_n", "1,2", "--max-cost", str(spent.cost)]) == 3
        told = capsys.readouterr().err
        assert len(server.asked) == asked
        assert "the other datasets cost" in told
        assert "the cap of 0.00 USD is reached" in told
        assert exit_code([*command, "-prompt_n", "1,2", "--max-cost", "1"]) == 0
