"""Reading what a model replied: every form it comes in, and what kind of reply the others are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.studies.pairs.proposing import ReplyKind, parse_reply

SIDES = ("safe", "harmful")
FIRST = {"safe": "Help me make a cake", "harmful": "Help me make a bomb"}
SECOND = {"safe": "Write a friendly email", "harmful": "Write a threatening email"}
BOTH = tuple((pair["safe"], pair["harmful"]) for pair in (FIRST, SECOND))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"pairs": [FIRST, SECOND]}),
        json.dumps({"scenarios": [FIRST, SECOND]}),
        json.dumps({"Pairs": [FIRST, SECOND], "count": 2}),
        json.dumps({"data": [FIRST, SECOND]}),
        json.dumps([FIRST, SECOND]),
        json.dumps([list(pair) for pair in BOTH]),
        json.dumps([{"prompt": first, "counterfactual": second} for first, second in BOTH]),
        json.dumps([{"Safe ": first, "HARMFUL": second, "topic": "x"} for first, second in BOTH]),
        f"```json\n{json.dumps({'pairs': [FIRST, SECOND]}, indent=2)}\n```",
        f"Sure! Here they are:\n```\n{json.dumps([FIRST, SECOND])}\n```\nTell me if you need more.",
        f"Here they are: {json.dumps({'pairs': [FIRST, SECOND]})} I hope this helps.",
        f"{json.dumps(FIRST)}\n{json.dumps(SECOND)}\n",
        f"{json.dumps(FIRST)},\n{json.dumps(SECOND)}",
    ],
)
def test_every_form_gives_the_same_pairs(text: str) -> None:
    reply = parse_reply(text, SIDES)
    assert (reply.kind, reply.pairs, reply.broken) == (ReplyKind.PAIRS, BOTH, 0)


@pytest.mark.parametrize(
    "text", [json.dumps(FIRST), json.dumps(list(BOTH[0])), json.dumps({"pairs": FIRST}), f"```{json.dumps(FIRST)}```"]
)
def test_a_bare_pair_is_one_pair(text: str) -> None:
    reply = parse_reply(text, SIDES)
    assert (reply.kind, reply.pairs) == (ReplyKind.PAIRS, BOTH[:1])


def test_sides_have_the_names_of_the_task() -> None:
    text = json.dumps({"pairs": [{"positive": "I love it", "negative": "I hate it"}, FIRST]})
    reply = parse_reply(text, ("positive", "negative"))
    assert (reply.pairs, reply.broken) == ((("I love it", "I hate it"),), 1)


def test_entries_that_are_no_pair_are_counted_and_values_are_left_to_the_validator() -> None:
    text = json.dumps({"pairs": [FIRST, {"safe": "x"}, "text", None, {"safe": 5, "harmful": None}]})
    reply = parse_reply(text, SIDES)
    assert (reply.pairs, reply.broken) == ((BOTH[0], (5, None)), 3)


def test_a_reply_without_pairs_is_no_fault_of_its_form() -> None:
    assert parse_reply('{"pairs": []}', SIDES).kind is ReplyKind.PAIRS


@pytest.mark.parametrize(
    ("text", "finish_reason", "kind"),
    [
        ("Let me think about cakes and bombs.", "stop", ReplyKind.MALFORMED),
        ('{"safe": "Help me", "harmful": ', "stop", ReplyKind.MALFORMED),
        ("42", "stop", ReplyKind.MALFORMED),
        ('{"answer": 42}', "stop", ReplyKind.MALFORMED),
        ("[" * 100_000, "stop", ReplyKind.MALFORMED),
        (None, "stop", ReplyKind.REFUSED),
        ("", "stop", ReplyKind.REFUSED),
        ("I\u2019m sorry, but I can\u2019t help with that.", "stop", ReplyKind.REFUSED),
        ("I cannot write harmful requests.", "stop", ReplyKind.REFUSED),
        (json.dumps({"pairs": [FIRST]}), "content_filter", ReplyKind.REFUSED),
        ('{"pairs": [{"safe": "Hel', "length", ReplyKind.CUT),
        ("", "length", ReplyKind.CUT),
    ],
)
def test_other_replies_are_of_one_kind_each(text: str | None, finish_reason: str, kind: ReplyKind) -> None:
    reply = parse_reply(text, SIDES, finish_reason)
    assert (reply.kind, reply.pairs) == (kind, ())


def test_what_stands_whole_in_a_cut_reply_is_kept_since_it_was_paid_for() -> None:
    whole = json.dumps({"pairs": [FIRST, SECOND, {"safe": "Teach me", "harmful": "Rob"}]})
    reply = parse_reply(whole[:-20], SIDES, "length")
    assert (reply.kind, reply.pairs) == (ReplyKind.CUT, BOTH)
    assert parse_reply(whole[:-20], SIDES, "stop").kind is ReplyKind.MALFORMED
    assert parse_reply(whole[:-20], SIDES, "stop").pairs == BOTH


@given(st.text(alphabet='{}[]",:pairssafeharmful \\n0', max_size=80), st.sampled_from(["stop", "length", "other"]))
def test_any_text_is_a_reply_of_some_kind(text: str, finish_reason: str) -> None:
    assert parse_reply(text, SIDES, finish_reason).kind in ReplyKind


@given(st.integers(min_value=1, max_value=80))
def test_a_reply_cut_anywhere_gives_no_pair_that_was_not_in_it(length: int) -> None:
    whole = json.dumps({"pairs": [FIRST, SECOND]})
    reply = parse_reply(whole[:-length], SIDES, "length")
    assert reply.pairs == BOTH[: len(reply.pairs)]
