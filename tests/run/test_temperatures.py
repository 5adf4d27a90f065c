"""Several temperatures in one run: each prompt at each, with the keys and texts of runs of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

import latentext
from latentext.errors import SpecError
from latentext.run.runner import make_dataset
from latentext.spec import Spec
from latentext.spec.files import dump_spec, load_spec

PROMPTS = {"template": "Say {word}.", "grid": {"word": ["red", "blue", "red"]}}


def spec_at(temperature: float | list[float], **prompts: object) -> Spec:
    return load_spec(
        {
            "model": "tiny",
            "prompts": {**PROMPTS, **prompts},
            "decoding": {"temperature": temperature, "max_new_tokens": 6, "n": 2},
        }
    )


def texts_of(directory: Path) -> dict[tuple[str, int], list[int]]:
    rows = latentext.open_dataset(directory).records(["key", "sample", "token_ids"]).to_pylist()
    return {(row["key"], row["sample"]): row["token_ids"] for row in rows}


def test_a_sweep_gives_the_keys_and_texts_of_one_run_a_temperature(tmp_path: Path) -> None:
    make_dataset(spec_at([0, 0.7, 1.5]), tmp_path / "sweep")
    alone: dict[tuple[str, int], list[int]] = {}
    for number, temperature in enumerate((0, 0.7, 1.5)):
        make_dataset(spec_at(temperature), tmp_path / str(number))
        alone |= texts_of(tmp_path / str(number))
    assert len(alone) == 18
    assert texts_of(tmp_path / "sweep") == alone


def test_the_temperature_is_a_variable_and_the_inner_loop(tmp_path: Path) -> None:
    make_dataset(spec_at([0.5, 1.0]), tmp_path / "d")
    frame = latentext.open_dataset(tmp_path / "d").to_pandas()
    first_samples = frame[frame["sample"] == 0]
    assert list(first_samples["temperature"]) == [0.5, 1.0] * 3
    assert list(first_samples["word"]) == ["red", "red", "blue", "blue", "red", "red"]


def test_a_limit_counts_prompts_and_can_grow(tmp_path: Path) -> None:
    first = make_dataset(spec_at([0, 1], limit=1), tmp_path / "d")
    assert first.planned == 4
    before = texts_of(tmp_path / "d")
    assert make_dataset(spec_at([0, 1], limit=3), tmp_path / "d").planned == 12
    assert before.items() <= texts_of(tmp_path / "d").items()


def test_other_temperatures_are_refused_by_name(tmp_path: Path) -> None:
    make_dataset(spec_at([0, 1], limit=1), tmp_path / "d")
    with pytest.raises(SpecError, match=r"decoding\.temperatures was \[0\.0, 1\.0\] and is \[0\.0, 2\.0\]"):
        make_dataset(spec_at([0, 2], limit=1), tmp_path / "d")


def test_a_column_called_temperature_is_refused(tmp_path: Path) -> None:
    spec = spec_at([0, 1], grid={"word": ["red"], "temperature": ["hot"]})
    with pytest.raises(SpecError, match="column 'temperature'"):
        make_dataset(spec, tmp_path / "d")


@pytest.mark.parametrize(
    ("decoding", "complaint"),
    [
        ({"temperature": []}, "empty list"),
        ({"temperature": [1, 1]}, "twice"),
        ({"temperature": [1, -1]}, "greater than or equal to 0"),
        ({"temperature": 1, "temperatures": [1, 2]}, "not both"),
        ({"temperature": [0, 1], "expect": "text"}, "temperatures"),
    ],
)
def test_unusable_temperatures_are_refused_in_one_line(decoding: dict[str, object], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        load_spec({"prompts": PROMPTS, "decoding": decoding})


def test_a_spec_with_temperatures_is_written_as_it_is_read() -> None:
    spec = spec_at([0.5, 1.0])
    assert "temperature: [0.5, 1.0]" in dump_spec(spec)
    assert spec_at([0.5]).decoding.temperature == 0.5
    assert spec_at([0.5]).decoding.temperatures == ()


def test_a_spec_with_temperatures_reads_back_equal(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(dump_spec(spec_at([0.5, 1.0])))
    assert load_spec(tmp_path / "spec.yaml") == spec_at([0.5, 1.0])
