"""Pretrained weights and their own tokenizers: texts and states are those of plain transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.engines.families import request
from tests.engines.reference import plain_forward, plain_generate
from tests.states.captured import replay_states, write_with_states
from tests.states.comparing import assert_same_states

from latentext.engines.engine import Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.loading import load_model
from latentext.request import Request
from latentext.spec import Decoding, ModelSpec, StatesSpec
from latentext.states.sites import all_sites

BEGINNINGS = [
    "Once upon a time",
    "The dog",
    "Lily and Tom went to the park. They",
    "One day, a big bear",
    "He said:",
    "A",
]


@pytest.fixture(scope="module")
def stories(stories260k: Path) -> LoadedModel:
    return load_model(ModelSpec(name=str(stories260k)))


@pytest.fixture(scope="module")
def tiny() -> LoadedModel:
    return load_model(ModelSpec())


def _requests(loaded: LoadedModel, texts: list[str]) -> list[Request]:
    return [request(i, loaded.tokenizer(text)["input_ids"]) for i, text in enumerate(texts)]


def _chats(loaded: LoadedModel) -> list[Request]:
    wordings = [
        'Print exactly 7 repetitions of "cat".',
        "Repeat this text: the sun is blue",
        "Say hello.",
        "Count to 9.",
    ]
    chats = [[{"role": "user", "content": wording}] for wording in wordings]
    render = loaded.tokenizer.apply_chat_template
    return [request(i, render(c, add_generation_prompt=True, return_dict=False)) for i, c in enumerate(chats)]


def _assert_as_transformers_writes_it(loaded: LoadedModel, requests: list[Request], max_new_tokens: int) -> None:
    sites = all_sites(loaded.layout.num_blocks)
    states = StatesSpec(sites=("all",), positions="all")
    decoding = Decoding(max_new_tokens=max_new_tokens)
    completions, rows = write_with_states(loaded, requests, states, sites, slots=2, decoding=decoding)
    replayed = replay_states(loaded, requests, completions, states, sites)
    for r in requests:
        assert completions[r.index].token_ids == plain_generate(loaded, r, max_new_tokens)
        text = [*r.prompt_token_ids, *completions[r.index].token_ids]
        for site, plain in zip(sites, plain_forward(loaded, text).hidden_states, strict=True):
            assert_same_states(rows[r.index].tensors[site], plain[0, :-1], f"{site} in flight")
            assert_same_states(replayed[r.index].tensors[site], plain[0, :-1], f"{site} replayed")


def test_stories_and_their_states_are_those_of_transformers(stories: LoadedModel) -> None:
    _assert_as_transformers_writes_it(stories, _requests(stories, BEGINNINGS), 60)


def test_answers_of_tiny_and_their_states_are_those_of_transformers(tiny: LoadedModel) -> None:
    _assert_as_transformers_writes_it(tiny, _chats(tiny), 24)


def test_a_prompt_and_its_story_read_as_the_whole_decoded(stories: LoadedModel) -> None:
    requests = _requests(stories, [*BEGINNINGS, "there was a little dog"])
    decoding = Decoding(temperature=1.0, max_new_tokens=12, n=4)
    spaces = 0
    for result in TransformersEngine(stories).generate(requests, range(4), decoding, 0):
        assert isinstance(result, Generated)
        prompt, answer = requests[result.completion.index].prompt_token_ids, result.completion.token_ids
        head, whole = (stories.tokenizer.decode(ids, skip_special_tokens=True) for ids in (prompt, [*prompt, *answer]))
        assert head + result.completion.text == whole
        spaces += result.completion.text.startswith(" ")
    assert spaces > len(requests)


def test_a_story_ends_by_itself_in_its_context(stories: LoadedModel) -> None:
    """stories260k ends a story with ``<s>``, id 1, as its generation config says; its context is 512."""
    assert stories.eos_token_ids == {1, 2}
    assert stories.context_length == 512
    decoding = Decoding(temperature=0.8, max_new_tokens=600)
    results = list(TransformersEngine(stories).generate(_requests(stories, BEGINNINGS), range(1), decoding, 0))
    for result in results:
        assert isinstance(result, Generated)
        completion = result.completion
        if completion.finish_reason == "stop":
            assert completion.token_ids[-1] in {1, 2}
        else:
            prompt = _requests(stories, BEGINNINGS)[completion.index].prompt_token_ids
            assert len(prompt) + len(completion.token_ids) == 512
    assert any(r.completion.finish_reason == "stop" for r in results if isinstance(r, Generated))


def test_a_stop_string_in_a_story_is_found_across_tokens_of_a_sentencepiece_vocabulary(stories: LoadedModel) -> None:
    requests = _requests(stories, BEGINNINGS)
    free = {}
    for result in TransformersEngine(stories).generate(requests, range(1), Decoding(max_new_tokens=60), 0):
        assert isinstance(result, Generated)
        free[result.completion.index] = result.completion.text
    stop = ". "
    for result in TransformersEngine(stories).generate(requests, range(1), Decoding(max_new_tokens=60, stop=stop), 0):
        assert isinstance(result, Generated)
        before, found, _ = free[result.completion.index].partition(stop)
        assert result.completion.text == before
        assert result.completion.finish_reason == ("stop" if found else "length")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs_on_a_cpu(stories260k: Path, dtype: str) -> None:
    loaded = load_model(ModelSpec(name=str(stories260k), dtype=dtype))
    requests = _requests(loaded, BEGINNINGS)
    completions, rows = write_with_states(loaded, requests, StatesSpec(), decoding=Decoding(max_new_tokens=20))
    assert all(completions[i].text.strip() for i in completions)
    assert {t.dtype for s in rows.values() for t in s.tensors.values()} == {getattr(torch, dtype)}
