"""Requests for pairs, what is made of the answers, and what the next round is told."""

from __future__ import annotations

import json

import pytest

from latentext.studies.pairs import PairTokenizer, load_task, validate_pairs
from latentext.studies.pairs.proposing import (
    Harvest,
    ProposalAnswer,
    ReplyKind,
    Yield,
    lesson,
    lessons,
    proposal_messages,
    response_format,
)

TASK = load_task("refusal")
GOOD = ("Help me make a cake", "Help me make a bomb")
BAD = ("Help me bake a cake", "Help me make a bomb")


def answer(*pairs: tuple[object, object], finish_reason: str = "stop") -> ProposalAnswer:
    entries = [{"safe": first, "harmful": second} for first, second in pairs]
    return ProposalAnswer(json.dumps({"pairs": entries}), finish_reason)


def test_requests_of_one_seed_differ_and_come_again() -> None:
    first, second = (proposal_messages(TASK, number, seed=3) for number in (0, 1))
    assert first == proposal_messages(TASK, 0, seed=3)
    assert first != second
    assert first != proposal_messages(TASK, 0, seed=4)
    assert first[0] == second[0]  # What providers keep in their cache.


def test_hints_hardly_ever_repeat() -> None:
    wishes = {proposal_messages(TASK, number)[1]["content"] for number in range(500)}
    assert len(wishes) == 500


def test_a_request_says_the_rule_the_examples_and_the_form_of_the_answer() -> None:
    system, user = proposal_messages(TASK, 0, pairs=1, lessons=["'a' and 'b' differ"], used_words=["bomb"])
    assert TASK.generation_instructions.strip() in system["content"]
    assert '{"safe": "Help me make a cake", "harmful": "Help me make a bomb"}' in system["content"]
    assert system["content"].endswith('Answer with JSON and nothing else: {"pairs": [{"safe": "…", "harmful": "…"}]}')
    assert user["content"].startswith("Write 1 new pair.\n")
    assert "- 'a' and 'b' differ" in user["content"]
    assert "used often: bomb." in user["content"]


def test_the_schema_names_the_sides_and_is_strict() -> None:
    form = response_format(load_task("sentiment"))
    assert form is not None
    schema = form["json_schema"]["schema"]
    pair = schema["properties"]["pairs"]["items"]
    assert (pair["required"], pair["additionalProperties"]) == (["positive", "negative"], False)
    assert form["json_schema"]["strict"] is True
    assert response_format(TASK, "json_object") == {"type": "json_object"}
    assert response_format(TASK, "none") is None


def test_answers_are_counted_by_kind_and_pairs_are_taken_once(tokenizers: tuple[PairTokenizer, ...]) -> None:
    harvest = Harvest(TASK, tokenizers, target=10)
    taken = harvest.take(
        [
            answer(GOOD, BAD),
            ProposalAnswer("Let me think."),
            ProposalAnswer("I'm sorry, I can't do that."),
            ProposalAnswer(json.dumps({"pairs": [{"safe": GOOD[0], "harmful": GOOD[1]}]})[:-2], "length"),
            ProposalAnswer(None, "server", failed=True),
            answer(("help me make a cake!", "Help me  make a bomb"), ("Help me make a bomb", "Help me make a cake.")),
        ]
    )
    assert dict(harvest.replies) == {
        ReplyKind.PAIRS: 2, ReplyKind.MALFORMED: 1, ReplyKind.REFUSED: 1, ReplyKind.CUT: 1, ReplyKind.FAILED: 1,
    }  # fmt: skip
    assert taken == Yield(proposed=5, new=2, valid=1)
    assert (harvest.exact_duplicates, harvest.duplicates) == (1, 2)
    assert [check.texts["multi_token"] for check in harvest.rejected] == [(f"{BAD[0]}.", f"{BAD[1]}.")]
    [scenario] = harvest.scenarios
    assert scenario.texts["multi_token"] == (f"{GOOD[0]}.", f"{GOOD[1]}.")
    assert len(scenario.checks) == 6


def test_the_first_so_many_are_kept_in_the_order_of_the_answers(tokenizers: tuple[PairTokenizer, ...]) -> None:
    words = [("cake", "bomb"), ("chair", "gun"), ("lamp", "bomb"), ("toy", "gun")]
    answers = [answer((f"Help me make a {first}", f"Help me make a {second}")) for first, second in words]
    at_once, one_by_one = (Harvest(TASK, tokenizers, target=3) for _ in range(2))
    at_once.take(answers)
    for one in answers:
        one_by_one.take([one])
    assert at_once.scenarios == one_by_one.scenarios
    assert [scenario.words for scenario in at_once.scenarios] == words[:3]
    assert (at_once.valid, at_once.complete) == (4, True)
    assert at_once.used_words(5) == ["bomb"]


def test_a_value_that_is_no_text_is_a_rejected_pair(tokenizers: tuple[PairTokenizer, ...]) -> None:
    harvest = Harvest(TASK, tokenizers, target=3)
    assert harvest.take([answer(("Help me", None), ("a", ["b"]), ("\ud800", "b"))]) == Yield(3, 3, 0)
    assert [check.reason for check in harvest.rejected] == ["not-a-string"] * 3


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (BAD, "'bake a cake' and 'make a bomb' differ in two tokens in qwen2: ' bake'/' make', ' cake'/' bomb'"),
        (
            ("Help me make a cake", "Help me make a passportless"),
            "'cake' and 'passportless' are not one token each in qwen2: the sentences have 26 and 27 tokens",
        ),
        (("Go", "Go."), "both sentences were the same: 'Go.'"),
        (("Go", " "), "one of the two sentences was empty"),
        (("Go", 5), "one of the two sentences was no text"),
    ],
)
def test_a_lesson_names_the_words_the_tokenizer_and_the_pieces(
    pair: tuple[object, object], said: str, tokenizers: tuple[PairTokenizer, ...]
) -> None:
    [check] = validate_pairs([pair], tokenizers, TASK.forms)
    assert lesson(check) == said


def test_lessons_are_few_different_and_of_every_kind(tokenizers: tuple[PairTokenizer, ...]) -> None:
    pairs = [(f"Help me bake {n} cakes", f"Help me make {n} bombs") for n in "abcdef"] + [("Go", 5), ("Go", " ")]
    told = lessons(validate_pairs(pairs, tokenizers, TASK.forms), 4)
    assert len(set(told)) == 4
    assert "one of the two sentences was no text" in told
    assert "one of the two sentences was empty" in told
    assert lessons([], 4) == []
