"""Segments, components and fidelity, on texts where the answer is known."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import latentext
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import ArgumentError
from latentext.prompts.tokenizer import load_tokenizer
from latentext.spec.files import load_spec
from latentext.studies.represent.components import principal_components
from latentext.studies.represent.extract import extract_and_save_hidden_states
from latentext.studies.represent.fidelity import Fidelity
from latentext.studies.represent.segments import segment_states, sentence_ends


def test_sentences_end_where_they_end() -> None:
    assert sentence_ends('He said "No!" Then he left.\nShe stayed. ') == [13, 27, 28, 39]
    assert sentence_ends("no end") == [6]
    assert sentence_ends(" \n") == []


def test_a_segments_state_stands_on_the_token_of_its_last_character(
    stories: TransformersEngine, stories260k: Path, tmp_path: Path
) -> None:
    made = extract_and_save_hidden_states(
        ["Once upon a time", "Lily had a red ball. She"], tmp_path / "h", tmp_path / "t", str(stories260k),
        str(stories260k), max_new_tokens=60, pooling="none", tokenizer_config={"use_chat_template": False},
    )  # fmt: skip
    dataset = latentext.open_dataset(made.dataset)
    segments = segment_states(dataset, stories.tokenizer)
    assert segments.ids == [0, 1] and segments.states.shape == (2, segments.lengths.max(), 64)
    assert (segments.lengths >= 2).all() and not segments.states[~segments.mask].any()
    rows = dataset.states("final_norm").align_at()
    for index, record in enumerate(dataset.records(["text", "token_ids"]).to_pylist()):
        text = rows[rows.text(index)]
        names = rows.rows[rows.text(index)]["token_id"]
        for place, end in enumerate(sentence_ends(record["text"])[:-1]):
            row = next(r for r in range(len(text)) if np.array_equal(text[r], segments.states[index, place]))
            assert record["text"][end - 1] in stories.tokenizer.decode([names[row]])
            assert stories.tokenizer.decode(record["token_ids"][:row]).strip() == record["text"][:end].strip()
    with pytest.raises(ArgumentError, match="do not ascend"):
        segment_states(dataset, stories.tokenizer, lambda text: [5, 3])
    with pytest.raises(ArgumentError, match="no ends of segments are given for text 1"):
        segment_states(dataset, stories.tokenizer, {0: [4]})


@pytest.mark.parametrize("segments", ["sentences", lambda text: [1, len(text)], {"a": [1, 4], "b": [2]}])
def test_the_option_segments_keeps_their_states_in_one_file(
    stories260k: Path, tmp_path: Path, segments: Any, stories: TransformersEngine
) -> None:
    name, ids = str(stories260k), ["a", "b"]
    for folder in ("one", "two"):
        made = extract_and_save_hidden_states(
            ["Once upon a time", "Lily had a red ball. She"], tmp_path / folder / "h", tmp_path / folder / "t", name,
            name, max_new_tokens=30, pooling="none", tokenizer_config={"use_chat_template": False}, ids=ids,
            sites=("final_norm", 1), segments=segments,
        )  # fmt: skip
    kept = np.load(tmp_path / "one" / "t_segments.npz")
    assert set(kept) == {"ids", "lengths", "final_norm", "resid_post.0"} and kept["ids"].tolist() == ids
    ends = sentence_ends if segments == "sentences" else segments
    for site in ("final_norm", "resid_post.0"):
        expected = segment_states(latentext.open_dataset(made.dataset), stories.tokenizer, ends, site)
        assert np.array_equal(kept[site], expected.states) and np.array_equal(kept["lengths"], expected.lengths)
    files = [tmp_path / folder / "t_segments.npz" for folder in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_components_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    vectors = np.random.default_rng(0).normal(size=(40, 6)) @ np.diag([9, 5, 2, 1, 0.5, 0.1])
    ours, theirs = principal_components(vectors, 3), PCA(3).fit(vectors)
    assert np.allclose(ours.explained_variance_ratio, theirs.explained_variance_ratio_)
    assert np.allclose(np.abs(ours.scores), np.abs(theirs.transform(vectors)))
    assert np.allclose(ours.transform(vectors), ours.scores)
    kept = principal_components(vectors, 0.9)
    assert kept.explained >= 0.9 > kept.explained_variance_ratio[:-1].sum()
    for wrong in (0, 7, 1.5, True and 99):
        with pytest.raises(ArgumentError, match="components is"):
            principal_components(vectors, wrong)
    with pytest.raises(ArgumentError, match="not finite"):
        principal_components(np.full((3, 2), np.nan), 1)


def test_the_fidelity_table_says_what_differs(stories: TransformersEngine, stories260k: Path, tmp_path: Path) -> None:
    name = str(stories260k)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = extract_and_save_hidden_states(
            ["Tom sat.", "Sue ran."], tmp_path / "h", tmp_path / "t", name, name, "repeat", 30,
            tokenizer_config={"use_chat_template": False},
        )  # fmt: skip
    # This model tells stories and repeats nothing, so both rows must say so.
    assert any("2 of 2 texts were not repeated exactly (100.0%)" in str(w.message) for w in said)
    table = pd.read_csv(tmp_path / "t_fidelity.csv")
    texts = pd.read_pickle(tmp_path / "t.pkl")
    assert not table["exact"].any() and (table["finish_reason"] == "length").all()
    for row, text, prompt in zip(table.itertuples(), texts["X"], texts["P"], strict=True):
        longer = max(len(text.strip()), len(prompt))
        assert longer - min(len(text.strip()), len(prompt)) <= row.characters_differing <= longer
        assert row.edit_distance == pytest.approx(row.characters_differing / longer)
        assert row.passes >= 1 and row.decoded + row.misses <= 30
    assert made.fidelity == Fidelity(2, 0, 2, 0, int(table["passes"].sum()), 0, {})


def test_the_warning_begins_above_one_percent() -> None:
    assert Fidelity(200, 198, 0, 0, 0, 0, {}).warning is None
    assert Fidelity(200, 197, 1, 0, 0, 0, {}).warning is not None


def test_segments_of_a_dataset_without_the_last_norm_are_of_its_deepest_site(tmp_path: Path) -> None:
    spec = {
        "model": "tiny",
        "prompts": {"list": ["Tell me a story about a fox.", "Say hello."]},
        "decoding": {"max_new_tokens": 30},
        "states": {"sites": [0, 2]},
    }
    latentext.make_dataset(load_spec(spec), tmp_path / "data")
    data, tokenizer = latentext.open_dataset(tmp_path / "data"), load_tokenizer("tiny")
    found, named = segment_states(data, tokenizer), segment_states(data, tokenizer, site="resid_post.1")
    np.testing.assert_array_equal(found.states, named.states)
    assert found.states.size
