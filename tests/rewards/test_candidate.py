"""What rewards see of a record: the user's words and the answer, never a chat template."""

from __future__ import annotations

import json

from latentext.rewards import Candidate, candidates_of


def test_a_plain_record_is_one_running_text() -> None:
    [candidate] = candidates_of(
        [
            {
                "prompt": "The film was",
                "messages": json.dumps([{"role": "user", "content": "The film was"}]),
                "prompt_token_ids": [1, 2],
                "text": " good.",
                "token_ids": [3, 4],
                "logprobs": [-0.5, -0.25],
            }
        ]
    )
    assert candidate == Candidate("The film was", " good.", "", (1, 2), (3, 4), (-0.5, -0.25))
    assert candidate.full_text == "The film was good."


def test_of_a_chat_the_last_user_turn_is_the_prompt() -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Why?"},
    ]
    record = {"prompt": "<s>[INST] Why? [/INST]", "messages": json.dumps(messages), "text": "Because."}
    [candidate] = candidates_of([record])
    assert (candidate.prompt, candidate.full_text) == ("Why?", "Why?\nBecause.")
    assert (candidate.token_ids, candidate.logprobs) == ((), None)


def test_a_record_without_messages_has_its_rendered_prompt() -> None:
    [candidate] = candidates_of([{"prompt": "Once", "messages": "[]", "text": " upon"}])
    assert candidate.full_text == "Once upon"


def test_keys_tell_candidates_apart_by_text_and_tokens() -> None:
    base = Candidate("ab", "c", token_ids=(1,))
    others = [
        Candidate("a", "bc", token_ids=(1,)),
        Candidate("ab", "c", token_ids=(2,)),
        Candidate("ab", "c"),
        Candidate("ab", "c", joint="\n", token_ids=(1,)),
        Candidate("ab", "c", token_ids=(1,), logprobs=(-1.0,)),
    ]
    assert len({base.key, *(other.key for other in others)}) == 6
    assert Candidate("ab", "c", token_ids=(1,)).key == base.key


def test_text_that_is_no_valid_utf8_has_a_key() -> None:
    assert len(Candidate("a", "\ud800").key) == 32
