"""Verified texts are the greedy texts, token for token, with the same states, in the promised number of passes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from benchmarks.spelled import SpelledTokens
from pydantic import ValidationError
from tests.states.comparing import assert_same_states

from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.loading import loaded_from
from latentext.engines.transformers.verify_decode import can_verify
from latentext.errors import SpecError
from latentext.request import Failure, Request, Verification
from latentext.spec import Decoding, StatesSpec

NAMES = ("Tim", "Lily", "Max", "Sue", "Ben")
CAPTURE = Capture(StatesSpec(), ("resid_post.1", "final_norm"))


def requests(engine: TransformersEngine, expected: list[str] | None = None) -> list[Request]:
    """Openings of stories of unequal length, with what is expected to follow."""
    made = []
    for index, name in enumerate(NAMES):
        text = f"Once upon a time there was a little dog named {name}." + " He was happy." * index
        ids = [engine.tokenizer.bos_token_id, *engine.tokenizer(text, add_special_tokens=False)["input_ids"]]
        variables = {} if expected is None else {"text": expected[index]}
        made.append(Request(index, f"{index:032x}", variables, [], text, ids))
    return made


def write(engine: TransformersEngine, asked: list[Request], decoding: Decoding, **options: Any) -> list[Generated]:
    made = list(engine.generate(asked, range(1), decoding, 0, **options))
    assert all(isinstance(result, Generated) for result in made), made
    return sorted(made, key=lambda result: result.completion.index)


@contextmanager
def counted_passes(loaded: LoadedModel) -> Iterator[list[int]]:
    """The batch sizes of all passes of the base model."""
    sizes: list[int] = []
    hook = loaded.layout.base.register_forward_hook(lambda _m, _a, out: sizes.append(out[0].shape[0]))
    try:
        yield sizes
    finally:
        hook.remove()


def ending_texts(engine: TransformersEngine, length: int) -> tuple[TransformersEngine, list[list[int]]]:
    """Greedy texts of about `length` tokens that end by themselves: their own full stop is made an end token."""
    full_stop = engine.tokenizer("dog.", add_special_tokens=False)["input_ids"][-1]
    ending = TransformersEngine(replace(engine.loaded, eos_token_ids=frozenset({full_stop})))
    decoding = Decoding(max_new_tokens=length)
    return ending, [list(r.completion.token_ids) for r in write(ending, requests(engine), decoding)]


def spelling(engine: TransformersEngine) -> TransformersEngine:
    """The same engine, reading expected texts as numbers."""
    return TransformersEngine(replace(engine.loaded, tokenizer=SpelledTokens(engine.tokenizer)))


def spelled(token_ids: list[int]) -> str:
    return " ".join(map(str, token_ids))


def same(left: list[Generated], right: list[Generated]) -> None:
    for a, b in zip(left, right, strict=True):
        assert list(a.completion.token_ids) == list(b.completion.token_ids)
        assert (a.completion.text, a.completion.finish_reason) == (b.completion.text, b.completion.finish_reason)
        assert a.states is not None and b.states is not None
        assert a.states.position.tolist() == b.states.position.tolist()
        assert a.states.token_id.tolist() == b.states.token_id.tolist()
        for name, rows in a.states.tensors.items():
            assert_same_states(rows, b.states.tensors[name], name)


@pytest.mark.parametrize("pool", [("none",), ("last", "mean", "max", "first"), ("entropy_mean",)])
def test_a_text_as_expected_takes_one_pass_and_gives_the_states_of_decoding(
    stories: TransformersEngine, pool: tuple[str, ...]
) -> None:
    ending, token_ids = ending_texts(stories, 150)
    capture = Capture(StatesSpec(pool=pool), CAPTURE.sites)  # type: ignore[arg-type]
    plain = write(ending, requests(ending), Decoding(max_new_tokens=150), capture=capture)
    asked = requests(ending, [spelled(ids[:-1]) for ids in token_ids])
    with counted_passes(ending.loaded) as passes:
        checked = write(spelling(ending), asked, Decoding(max_new_tokens=150, expect="text"), capture=capture)
    same(checked, plain)
    assert {r.completion.finish_reason for r in plain} == {"stop"}
    assert [r.completion.verification for r in checked] == [Verification(1, 0, 0, 0)] * len(NAMES)
    assert passes == [1, len(NAMES)]  # The check of the logits when the engine first verifies, then one pass for all.


@pytest.mark.parametrize("misses", [1, 2, 4])
def test_every_replaced_token_costs_one_more_pass(stories: TransformersEngine, misses: int) -> None:
    plain = write(stories, requests(stories), Decoding(max_new_tokens=160), capture=CAPTURE)
    unseen = stories.loaded.vocab_size - 1
    expected = []
    for result in plain:
        token_ids = list(result.completion.token_ids)
        assert unseen not in token_ids
        for miss in range(misses):
            token_ids[10 + 38 * miss] = unseen
        expected.append(spelled(token_ids))
    engine = spelling(stories)
    assert engine._can_verify
    with counted_passes(engine.loaded) as passes:
        checked = write(
            engine, requests(engine, expected), Decoding(max_new_tokens=160, expect="text"), capture=CAPTURE
        )
    same(checked, plain)
    assert [r.completion.verification for r in checked] == [Verification(misses + 1, misses, 0, 0)] * len(NAMES)
    assert passes == [len(NAMES)] * (misses + 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "Quite another text, of which nothing is written.",
        lambda text: text[:80] + " and then, out of nowhere, a zebra came" + text[80:],
        lambda text: text[:60] + text[75:],
        lambda text: text[: len(text) // 2],
        lambda text: text + " And that is not all that there is to say.",
        lambda text: "",
    ],
    ids=["another text", "words put in", "words left out", "first half", "goes on", "nothing"],
)
def test_whatever_is_expected_the_text_is_the_greedy_one(stories: TransformersEngine, spoil: Any) -> None:
    plain = write(stories, requests(stories), Decoding(max_new_tokens=100), capture=CAPTURE)
    asked = requests(stories, [spoil(result.completion.text) for result in plain])
    checked = write(stories, asked, Decoding(max_new_tokens=100, expect="text"), capture=CAPTURE)
    same(checked, plain)


def test_another_spelling_of_the_same_text_is_followed_to_its_end(stories: TransformersEngine) -> None:
    plain = write(stories, requests(stories), Decoding(max_new_tokens=100))
    # The model begins with the space that the expected text lacks, and writes the rest as expected.
    asked = requests(stories, [result.completion.text for result in plain])
    for result in write(stories, asked, Decoding(max_new_tokens=100, expect="text")):
        assert result.completion.verification is not None
        assert result.completion.verification.decoded == 0
        assert result.completion.verification.misses <= 1


def test_logprobs_and_entropies_are_those_of_decoding(stories: TransformersEngine) -> None:
    measured = Decoding(max_new_tokens=60, logprobs=True, entropy=True)
    plain = write(stories, requests(stories), measured)
    texts = [r.completion.text for r in plain]
    texts[0] = "Something else."  # One text that is given up and decoded.
    checked = write(stories, requests(stories, texts), measured.model_copy(update={"expect": "text"}))
    for a, b in zip(checked, plain, strict=True):
        assert a.completion.logprobs == pytest.approx(b.completion.logprobs, abs=1e-4)
        assert a.completion.entropies == pytest.approx(b.completion.entropies, abs=1e-4)


def test_one_text_at_a_time_gives_the_same_as_all_at_once(stories: TransformersEngine) -> None:
    plain = write(stories, requests(stories), Decoding(max_new_tokens=60))
    asked = requests(stories, [r.completion.text[:150] + " No." for r in plain])
    decoding = Decoding(max_new_tokens=60, expect="text")
    together = write(stories, asked, decoding, capture=CAPTURE)
    same(write(stories, asked, decoding, capture=CAPTURE, slots=1), together)
    again = write(stories, asked, decoding, capture=CAPTURE)
    for a, b in zip(again, together, strict=True):
        assert a.states is not None and b.states is not None
        assert all(torch.equal(rows, b.states.tensors[name]) for name, rows in a.states.tensors.items())


def test_a_model_whose_logits_are_scaled_is_decoded(stories: TransformersEngine) -> None:
    from transformers import CohereConfig, CohereForCausalLM

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    model = CohereForCausalLM(CohereConfig(vocab_size=512, logit_scale=0.25, max_position_embeddings=256, **size))
    engine = TransformersEngine(loaded_from(model, stories.tokenizer, stories.loaded.source))
    assert can_verify(stories.loaded) and not can_verify(engine.loaded)
    plain = write(engine, requests(engine), Decoding(max_new_tokens=8), capture=CAPTURE)
    checked = write(engine, requests(engine, ["a"] * 5), Decoding(max_new_tokens=8, expect="text"), capture=CAPTURE)
    same(checked, plain)
    assert {r.completion.verification for r in checked} == {None}


def test_a_miss_within_rounding_is_counted_as_a_tie(stories: TransformersEngine) -> None:
    model = copy.deepcopy(stories.loaded.model)
    (plain,) = write(stories, requests(stories)[:1], Decoding(max_new_tokens=20))
    written, twin = plain.completion.token_ids[5], stories.loaded.vocab_size - 1
    with torch.no_grad():  # Two tokens with one vector have equal logits; greedy decoding takes the lower id.
        weights = model.get_output_embeddings().weight
        weights[twin] = weights[written]
    engine = spelling(TransformersEngine(loaded_from(model, stories.tokenizer, stories.loaded.source)))
    token_ids = list(plain.completion.token_ids)
    asked = requests(engine, [spelled([*token_ids[:5], twin, *token_ids[6:]])] * len(NAMES))[:1]
    (checked,) = write(engine, asked, Decoding(max_new_tokens=20, expect="text"))
    assert list(checked.completion.token_ids) == token_ids
    assert checked.completion.verification == Verification(2, 1, 1, 0)


def test_logits_that_are_not_numbers_fail_that_text_alone(stories: TransformersEngine) -> None:
    model = copy.deepcopy(stories.loaded.model)
    first, second = (request.prompt_token_ids for request in requests(stories)[:2])
    with torch.no_grad():
        output = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size, bias=False)
        output.weight.copy_(model.get_output_embeddings().weight)
        model.set_output_embeddings(output)  # No longer tied to the input embeddings, which get the NaN.
        model.get_input_embeddings().weight[next(t for t in second if t not in first)] = torch.nan
    engine = TransformersEngine(loaded_from(model, stories.tokenizer, stories.loaded.source))
    asked = requests(engine, ["Some text."] * len(NAMES))[:2]
    made = list(engine.generate(asked, range(1), Decoding(max_new_tokens=5, expect="text"), 0))
    failures = [result for result in made if isinstance(result, Failure)]
    assert [(failure.index, failure.reason) for failure in failures] == [(1, "nonfinite-logits")]
    assert [r.completion.index for r in made if isinstance(r, Generated)] == [0]


def test_expectations_that_cannot_be_checked_are_refused(stories: TransformersEngine) -> None:
    for option in ({"temperature": 0.5}, {"repetition_penalty": 1.2}, {"stop": "x"}, {"min_new_tokens": 3}):
        with pytest.raises(ValidationError, match=f"cannot stand beside {next(iter(option))}"):
            Decoding(expect="text", **option)
    with pytest.raises(SpecError, match="no prompt has a variable 'txet'"):
        list(stories.generate(requests(stories, ["a"] * 5), range(1), Decoding(expect="txet"), 0))
