"""Texts by vLLM are those of the other engine where both are greedy, and repeatable where they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.vllm.made import Texts, plain_texts, requests_of, texts_of
from tests.vllm.needed import need_vllm

from latentext.engines.engine import Generated
from latentext.engines.transformers.loaded import LoadedModel
from latentext.request import Completion, Failure, Request
from latentext.spec import Decoding

need_vllm()

if TYPE_CHECKING:
    from latentext.engines.vllm.engine import VllmEngine

DRAWN = Decoding(temperature=0.9, top_k=40, top_p=0.95, max_new_tokens=12)


def _ids(texts: Texts) -> dict[tuple[int, int], Sequence[int]]:
    return {place: list(text.token_ids) for place, text in texts.items()}


def _seen(text: Completion) -> tuple[Any, ...]:
    return list(text.token_ids), text.text, text.finish_reason


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(max_new_tokens=60),
        Decoding(max_new_tokens=40, stop=(". ", "box")),
        Decoding(max_new_tokens=40, stop=" a", min_new_tokens=9),
        Decoding(max_new_tokens=25, repetition_penalty=1.4),
        Decoding(max_new_tokens=25, presence_penalty=1.5, frequency_penalty=0.7),
        Decoding(max_new_tokens=600),
        Decoding(max_new_tokens=400, min_new_tokens=400),
    ],
    ids=["plain", "stop", "stop-not-before", "repetition", "presence-frequency", "to-its-end", "forced-length"],
)
def test_greedy_texts_are_those_of_transformers(engine: VllmEngine, stories: LoadedModel, decoding: Decoding) -> None:
    requests = requests_of(stories.tokenizer)
    expected = plain_texts(stories, requests, decoding)
    texts = texts_of(engine, requests, decoding)
    assert {place: _seen(text) for place, text in texts.items()} == {p: _seen(t) for p, t in expected.items()}


def test_logprobs_are_of_the_models_own_distribution(engine: VllmEngine, stories: LoadedModel) -> None:
    """A penalty changes which token is taken, not the distribution that its probability is read from."""
    requests = requests_of(stories.tokenizer)
    decoding = Decoding(max_new_tokens=15, logprobs=True, repetition_penalty=1.4)
    expected = plain_texts(stories, requests, decoding)
    for place, text in texts_of(engine, requests, decoding).items():
        assert text.logprobs == pytest.approx(expected[place].logprobs, abs=1e-4)


def test_a_prompt_that_does_not_fit_fails_alone(engine: VllmEngine, stories: LoadedModel) -> None:
    good = requests_of(stories.tokenizer)
    bad = [
        Request(10, "long", {}, [], "", [1] + [403] * 511),
        Request(11, "empty", {}, [], "", []),
        Request(12, "foreign", {}, [], "", [1, 512]),
    ]
    just_fits = Request(13, "fits", {}, [], "", [1] + [403] * 510)
    results = list(engine.generate([*bad, *good, just_fits], range(1), Decoding(max_new_tokens=5), 0))
    failed = {r.index: r.reason for r in results if isinstance(r, Failure)}
    lengths = {r.completion.index: len(r.completion.token_ids) for r in results if isinstance(r, Generated)}
    assert failed == {10: "prompt-too-long", 11: "empty-prompt", 12: "bad-token"}
    assert lengths == {**dict.fromkeys(range(len(good)), 5), 13: 1}


def test_a_text_depends_on_its_seed_and_sample_and_on_nothing_else(engine: VllmEngine, stories: LoadedModel) -> None:
    requests = requests_of(stories.tokenizer)
    together = _ids(texts_of(engine, requests, DRAWN, range(4)))
    first, more = texts_of(engine, requests, DRAWN, range(2)), texts_of(engine, requests, DRAWN, range(2, 4))
    alone = texts_of(engine, requests[3:4], DRAWN, range(1))
    assert _ids(first) | _ids(more) == together
    assert _ids(alone)[3, 0] == together[3, 0]
    assert len({tuple(ids) for ids in together.values()}) > 20
    assert _ids(texts_of(engine, requests, DRAWN, range(1), seed=1)) != _ids(
        texts_of(engine, requests, DRAWN, range(1))
    )


def test_a_draw_among_one_token_is_the_greedy_one(engine: VllmEngine, stories: LoadedModel) -> None:
    requests = requests_of(stories.tokenizer)
    greedy = _ids(texts_of(engine, requests, Decoding(max_new_tokens=12)))
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        assert _ids(texts_of(engine, requests, Decoding(temperature=1.5, max_new_tokens=12, **narrow))) == greedy


def test_two_shards_share_the_steps_of_the_engine(engine: VllmEngine, stories: LoadedModel) -> None:
    requests = requests_of(stories.tokenizer)
    decoding = Decoding(max_new_tokens=300, min_new_tokens=300)
    alone = _ids(texts_of(engine, requests, decoding))
    before = engine.steps
    with ThreadPoolExecutor(engine.shards_in_flight) as threads:
        halves = list(threads.map(lambda half: texts_of(engine, half, decoding), [requests[:3], requests[3:]]))
    assert _ids(halves[0]) | _ids(halves[1]) == alone
    assert engine.steps - before < 450  # One after the other they would take 600.


def test_a_shard_that_is_left_early_does_not_keep_the_engine_busy(engine: VllmEngine, stories: LoadedModel) -> None:
    requests = requests_of(stories.tokenizer)
    short = Request(7, "short", {}, [], "", [1] + [403] * 508)
    shard = engine.generate([*requests, short], range(1), Decoding(max_new_tokens=400, min_new_tokens=400), 0)
    assert isinstance(first := next(shard), Generated)
    assert first.completion.index == 7
    shard.close()
    before = engine.steps
    assert len(texts_of(engine, requests, Decoding(max_new_tokens=5))) == len(requests)
    assert engine.steps - before < 100
