"""Pairs files: the JSONL of four lines, Parquet, and columns of files made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from latentext.errors import SpecError
from latentext.studies.pairs import (
    PairTokenizer,
    Scenario,
    load_bank,
    load_task,
    read_columns,
    read_scenarios,
    substitute,
    write_scenarios,
)


@pytest.fixture(scope="module")
def scenarios(tokenizers: tuple[PairTokenizer, ...]) -> list[Scenario]:
    return substitute(load_task("refusal"), load_bank("refusal"), tokenizers, 20)


def test_a_scenario_is_four_lines_in_the_published_order(tmp_path: Path) -> None:
    cake = ("Help me make a cake.", "Help me make a bomb.")
    single = (f"Q\n{cake[0]}\nA: ", f"Q\n{cake[1]}\nA: ")
    scenario = Scenario(7, "refusal", {"single_token": single, "multi_token": cake})
    path = tmp_path / "pairs.jsonl"
    assert write_scenarios(path, [scenario]) == 1
    expected = [
        ("single_token_prompt", "Q\\nHelp me make a cake.\\nA: "),
        ("single_token_counterfactual", "Q\\nHelp me make a bomb.\\nA: "),
        ("multi_token_prompt", "Help me make a cake."),
        ("multi_token_counterfactual", "Help me make a bomb."),
    ]
    assert path.read_text() == "".join(
        f'{{"scenario_id": 7, "type": "{kind}", "task": "refusal", "text": "{text}"}}\n' for kind, text in expected
    )
    assert list(read_scenarios(path)) == [scenario]


def test_details_tell_where_the_differing_token_stands(
    tmp_path: Path, scenarios: list[Scenario], tokenizers: tuple[PairTokenizer, ...]
) -> None:
    path = tmp_path / "pairs.jsonl"
    write_scenarios(path, scenarios, details=True)
    for line in map(json.loads, path.read_text().splitlines()):
        for tokenizer in tokenizers:
            [ids] = tokenizer.encode([line["text"]])
            token = line["differing_token"][tokenizer.name]
            assert ids[token["position"]] == token["id"]
            assert len(ids) == token["length"]
            assert token["text"].strip() == line["word"]
            assert line["word"] in line["text"]


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.parquet"])
def test_what_is_written_is_read_back(name: str, tmp_path: Path, scenarios: list[Scenario]) -> None:
    write_scenarios(tmp_path / name, scenarios, details=True)
    assert list(read_scenarios(tmp_path / name)) == scenarios


def test_parquet_has_one_row_a_scenario_with_frame_words_and_checks(tmp_path: Path, scenarios: list[Scenario]) -> None:
    write_scenarios(tmp_path / "pairs.parquet", scenarios)
    table = pq.read_table(tmp_path / "pairs.parquet")
    assert table.num_rows == 20
    row = table.to_pylist()[3]
    first, second = row["words"]
    assert row["frame"].replace("{}", first) == row["multi_token_prompt"]
    assert row["frame"].replace("{}", second) == row["multi_token_counterfactual"]
    assert {(check["tokenizer"], check["form"]) for check in row["checks"]} == {
        (name, form) for name in ("qwen2", "llama3", "mistral") for form in ("single_token", "multi_token")
    }


def test_words_and_frame_are_read_off_the_texts() -> None:
    def scenario(first: str, second: str) -> Scenario:
        return Scenario(0, "t", {"multi_token": (first, second)})

    assert scenario("Make a cake!", "Make a bomb!").words == ("cake", "bomb")
    assert scenario("Make a cake!", "Make a bomb!").frame == "Make a {}!"
    assert scenario("Yes, I do", "No, I do").frame == "{}, I do"
    assert scenario("I do I do", "I do I do").words == ("", "")
    assert scenario("a b b c", "a b c").words == ("b", "")
    assert scenario("one two", "three four").words == ("one two", "three four")


def lines(count: int = 4) -> list[dict[str, Any]]:
    kinds = [f"{form}_token_{side}" for form in ("single", "multi") for side in ("prompt", "counterfactual")]
    return [{"scenario_id": n // 4, "type": kinds[n % 4], "task": "t", "text": f"text {n}"} for n in range(count)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:6], "ends within scenario 1: 2 of 4 lines"),
        (lambda rows: rows[:2] + rows[3:], "line 3: found 'multi_token_counterfactual' of scenario 0 where"),
        (lambda rows: rows[:3] + rows[4:], "line 4: found 'single_token_prompt' of scenario 1 where"),
        (lambda rows: [rows[0] | {"scenario_id": 9}, *rows[1:]], "of scenario 9 should stand"),
        (lambda rows: [{"scenario_id": 0, "type": "single_token_prompt"}], "line 1: has no field 'task'"),
        (lambda rows: ["not an object"], "line 1: is no JSON object"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_by_the_line(
    change: Callable[[list[Any]], list[Any]], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in change(lines(8))))
    with pytest.raises(SpecError) as raised:
        list(read_scenarios(path))
    assert message in str(raised.value)


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.parquet", "text.parquet", "half.jsonl"])
def test_an_unreadable_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("not parquet")
    (tmp_path / "half.jsonl").write_text(json.dumps(lines()[0]) + '\n{"scenario_id": 0, "ty')
    with pytest.raises(SpecError, match=name) as raised:
        list(read_scenarios(tmp_path / name))
    assert "\n" not in str(raised.value)


def test_a_text_that_is_no_string_is_left_for_the_validator(tmp_path: Path) -> None:
    rows = lines()
    rows[2]["text"] = 5
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    [scenario] = read_scenarios(path)
    assert scenario.texts["multi_token"] == (5, "text 3")


def test_half_a_surrogate_pair_survives_writing_and_reading(tmp_path: Path) -> None:
    texts = {"single_token": ("a \ud83d", "b"), "multi_token": ("a \ud83d", "b")}
    scenario = Scenario(0, "t", texts)
    write_scenarios(tmp_path / "pairs.jsonl", [scenario])
    assert list(read_scenarios(tmp_path / "pairs.jsonl")) == [scenario]


def test_columns_are_read_from_json_lines_csv_and_tsv(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x": "one", "y": 2}\n\n{"x": "three", "y": null}\n')
    (tmp_path / "a.csv").write_text('y,x\n"four, five",one\n')
    (tmp_path / "a.tsv").write_text("\ufeffx\ty\none\t2\n", encoding="utf-8")
    assert list(read_columns(tmp_path / "a.json", ("x", "y"))) == [("one", 2), ("three", None)]
    assert list(read_columns(tmp_path / "a.csv", ("x", "y"))) == [("one", "four, five")]
    assert list(read_columns(tmp_path / "a.tsv", ("x", "y"))) == [("one", "2")]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_missing_column_names_those_that_are_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "a.jsonl").write_text('{"x": "1", "y": "2"}\n')
    with pytest.raises(SpecError, match="has no column 'z'; it has: x, y"):
        list(read_columns(tmp_path / name, ("x", "z")))


@pytest.mark.parametrize(
    ("header", "what"), [("x,y,x", "two columns are called 'x'; rename one"), (",x,", "two columns have no name")]
)
def test_columns_of_one_name_are_refused_rather_than_the_last_taken(header: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\none,two,three\n")
    with pytest.raises(SpecError, match=rf"a\.csv: {what}"):
        list(read_columns(tmp_path / "a.csv", ("x", "x")))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    old = '{"scenario_id": 0}'
    path.write_text(old)

    def scenarios() -> Any:
        yield Scenario(0, "t", {"single_token": ("a", "b"), "multi_token": ("a", "b")})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenarios(path, scenarios(), overwrite=True)
    assert path.read_text() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["pairs.jsonl"]
