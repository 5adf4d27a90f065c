"""Limits of length: settled from a corpus, retried until legal, cut to sentences, only counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import latentext
from latentext.errors import SpecError
from latentext.run.runner import make_dataset
from latentext.run.verification import verify
from latentext.spec import Spec
from latentext.spec.files import load_spec

MOST = 6


def repeat_spec(policy: str, **decoding: object) -> Spec:
    """Prompts whose answers at temperature 1.5 are sometimes of 2 to 4 words, sometimes never."""
    return load_spec(
        {
            "model": "tiny",
            "prompts": {"template": "Say {w} {c} times.", "grid": {"w": ["red", "blue"], "c": [2, 3, 5, 7]}},
            "decoding": {"temperature": 1.5, "max_new_tokens": 12, **decoding},
            "length": {"policy": policy, "min": 2, "max": 4, "human": "w"},
        }
    )


def dialogue_spec(materials: Path, **changes: object) -> Spec:
    return load_spec(
        {
            "model": "tiny",
            "prompts": {
                "corpus": "dailydialog",
                "task": 21,
                "file": str(materials / "prompts" / "dailydialog-500.ndjson"),
                "limit": 2,
            },
            "length": {"policy": "tokens"},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def retried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("retried") / "d"
    make_dataset(repeat_spec("retry", n=MOST), root)
    return root


def files_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in ("records", "scores")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def test_samples_are_drawn_until_one_is_legal_and_no_further(retried: Path) -> None:
    data = latentext.open_dataset(retried)
    accepted = dict(
        zip(
            zip(data.scores("length")["index"].to_pylist(), data.scores("length")["sample"].to_pylist(), strict=True),
            data.scores("length")["accepted"].to_pylist(),
            strict=True,
        )
    )
    drawn: dict[int, list[int]] = {}
    for index, sample in accepted:
        drawn.setdefault(index, []).append(sample)
    assert sorted(drawn) == list(range(8))
    for index, samples in drawn.items():
        verdicts = [accepted[index, sample] for sample in samples]
        assert samples == list(range(len(samples)))
        assert not any(verdicts[:-1])
        assert verdicts[-1] == 1 or len(samples) == MOST
    assert {len(samples) for samples in drawn.values()} >= {1, MOST}


def test_every_sample_is_the_one_of_a_run_that_draws_them_all(retried: Path, tmp_path: Path) -> None:
    make_dataset(repeat_spec("none", n=MOST), tmp_path / "all")
    columns = ["key", "sample", "token_ids"]
    everything = latentext.open_dataset(tmp_path / "all").records(columns).to_pylist()
    some = latentext.open_dataset(retried).records(columns).to_pylist()
    assert len(some) < len(everything) == 8 * MOST
    assert all(row in everything for row in some)


def test_a_request_counts_once_and_what_was_not_drawn_is_counted(retried: Path) -> None:
    counts = latentext.open_dataset(retried).metadata["counts"]
    assert counts["planned"] == counts["requests"] == 8
    assert counts["accepted"] + counts["rejected"] == 8
    assert counts["accepted"] >= 1 <= counts["rejected"]
    receipt = json.loads((retried / "records" / f"s0000-{MOST - 1:04d}" / "00000.receipt.json").read_text())["counts"]
    assert receipt["planned"] + receipt["spared"] == 8 * MOST
    assert receipt["planned"] == latentext.open_dataset(retried).records(["index"]).num_rows


def test_the_directory_verifies_and_a_shard_that_is_lost_comes_back_the_same(retried: Path) -> None:
    assert verify(retried) == []
    before = files_of(retried)
    receipt = retried / "records" / f"s0000-{MOST - 1:04d}" / "00000.receipt.json"
    receipt.unlink()
    make_dataset(repeat_spec("retry", n=MOST), retried)
    assert files_of(retried) == before


def test_the_most_samples_are_settled_when_the_run_starts(retried: Path) -> None:
    with pytest.raises(SpecError, match=r"decoding\.n was 6 and is 7"):
        make_dataset(repeat_spec("retry", n=MOST + 1), retried)
    with pytest.raises(SpecError, match=r"length\.policy was retry and is none"):
        make_dataset(repeat_spec("none", n=MOST), retried)


def test_a_prompt_that_fails_is_not_asked_again_sample_by_sample(tmp_path: Path) -> None:
    spec = repeat_spec("retry").model_copy(
        update={"prompts": load_spec({"prompts": {"list": ["word " * 3000, "Say red."]}}).prompts}
    )
    spec = spec.model_copy(update={"length": spec.length and spec.length.model_copy(update={"tokens_per_word": 1.0})})
    summary = make_dataset(spec.model_copy(update={"decoding": spec.decoding.model_copy(update={"n": 2})}), tmp_path)
    assert (summary.planned, summary.failed) == (2, 1)


def test_limits_of_a_corpus_become_tokens_by_the_ratio_of_its_human_texts(materials: Path, tmp_path: Path) -> None:
    """Expected: 4 and 112 words (the seed's limits) times tiny's tokens a word over the 500 human texts."""
    from latentext.prompts.tokenizer import load_tokenizer
    from latentext.word_count import count_words

    make_dataset(dialogue_spec(materials), tmp_path / "d")
    spec = latentext.open_dataset(tmp_path / "d").spec
    lines = (materials / "prompts" / "dailydialog-500.ndjson").read_text().splitlines()
    texts = [json.loads(line)["human_completions"] for line in lines]
    tokens = sum(len(ids) for ids in load_tokenizer("tiny")(texts, add_special_tokens=False)["input_ids"])
    ratio = round(tokens / sum(count_words(texts)), 4)
    assert spec.length is not None
    assert (spec.length.min, spec.length.max, spec.length.tokens_per_word) == (4, 112, ratio)
    assert spec.decoding.min_new_tokens == int(4 * ratio)
    assert spec.decoding.max_new_tokens == -int(-112 * ratio // 1) + 1
    assert (
        make_dataset(dialogue_spec(materials), tmp_path / "d").tokens == 0
    )  # Settled the same: nothing is made again.


def test_a_limit_that_decoding_gives_stays(materials: Path, tmp_path: Path) -> None:
    make_dataset(dialogue_spec(materials, decoding={"max_new_tokens": 3}), tmp_path / "d")
    decoding = latentext.open_dataset(tmp_path / "d").spec.decoding
    assert (decoding.max_new_tokens, decoding.min_new_tokens) == (3, 3)


def test_without_human_texts_there_is_nothing_to_convert_by(tmp_path: Path) -> None:
    spec = load_spec({"prompts": {"list": ["Say red."]}, "length": {"min": 1, "max": 5}})
    with pytest.raises(SpecError, match=r"no row has a text 'human_completions'"):
        make_dataset(spec, tmp_path / "d")


def test_two_verdicts_are_refused() -> None:
    with pytest.raises(SpecError, match="leave one out"):
        load_spec(
            {
                "prompts": {"template": "{word}", "grid": {"word": ["a"], "count": [1]}},
                "check": {"repetition": {}},
                "length": {"policy": "retry"},
            }
        )
