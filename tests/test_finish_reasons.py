"""One table of finish reasons: words of other engines, what a record then says, and which texts are whole.

The words are those of the API references of OpenAI, Anthropic, Gemini, Mistral, Cohere, Bedrock, DeepSeek and of the
documentation of vLLM, SGLang, llama.cpp and Text Generation Inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentext.engines.vllm.loop import StepLoop, Ticket, VllmOrder, Written, _Text
from latentext.finish_reasons import are_whole, finish_reason, is_whole
from latentext.rewards.text_length import measure_lengths
from latentext.sentences import completion_of
from latentext.spec import LengthSpec
from latentext.studies.pairs.proposing.replies import ReplyKind, parse_reply

STOPPED = ["stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn", "COMPLETE", "Stop Sequence", " stop "]
CUT = ["length", "max_tokens", "MAX_TOKENS", "model_length", "max-tokens", "model_context_window_exceeded", "LENGTH"]
BROKEN = ["error", "abort", "ERROR", "cancelled", "insufficient_system_resource"]
FILTERED = ["content_filter", "SAFETY", "PROHIBITED_CONTENT"]
NOT_KNOWN = [None, "", "tool_calls", "FINISH_REASON_UNSPECIFIED", 3, ["stop"], "st\udc00op", {"stop": 1}, True]


@pytest.mark.parametrize(
    ("words", "reason"),
    [(STOPPED, "stop"), (CUT, "length"), (BROKEN, "failed"), (FILTERED, "filtered"), (NOT_KNOWN, "unknown")],
)
def test_every_word_of_another_engine_means_one_of_ours(words: Sequence[object], reason: str) -> None:
    assert [finish_reason(word) for word in words] == [reason] * len(words)


@given(st.one_of(st.none(), st.integers(), st.text(st.characters(), max_size=20), st.lists(st.text())))
def test_any_value_at_all_is_a_word_that_can_be_written(word: object) -> None:
    assert finish_reason(word) in ("stop", "length", "unknown", "given", "failed", "filtered", "refused")


def test_what_is_not_known_to_have_ended_by_itself_is_treated_as_cut() -> None:
    words = ["stop", "given", "length", "unknown", "MAX_TOKENS", "eos", "tool_calls"]
    whole = [True, True, False, False, False, True, False]  # The last three stand in datasets of 0.1.0 as they came.
    assert [is_whole(word) for word in words] == whole
    assert are_whole(np.array(words, object)).tolist() == whole


@pytest.mark.parametrize(
    ("word", "accepted", "completion"), [("stop", 1.0, "One two. Three"), ("unknown", 0.0, "One two.")]
)
def test_an_unknown_end_has_no_legal_length_and_is_cut_back_to_a_sentence(
    word: str, accepted: float, completion: str
) -> None:
    (found,) = measure_lengths(LengthSpec(min=1, max=9), [("One two.", word)])
    assert found["accepted"] == accepted
    assert completion_of("One two. Three", word, LengthSpec(policy="sentence")) == completion


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("end_turn", ReplyKind.PAIRS),
        ("MAX_TOKENS", ReplyKind.CUT),
        ("unknown", ReplyKind.CUT),
        ("SAFETY", ReplyKind.REFUSED),
    ],
)
def test_a_reply_of_proposals_is_cut_or_refused_by_the_same_table(word: str, kind: ReplyKind) -> None:
    assert parse_reply('{"pairs": [{"safe": "a cake", "harmful": "a bomb"}]}', ("safe", "harmful"), word).kind is kind


@pytest.mark.parametrize(
    ("word", "reason", "problem"),
    [
        ("stop", "stop", ""),
        ("length", "length", ""),
        ("abort", "failed", "vLLM ended the text: abort"),
        (None, "unknown", ""),
    ],
)
def test_a_text_that_vllm_gave_up_is_a_failure(word: str | None, reason: str, problem: str) -> None:
    """The output has the fields of vLLM's RequestOutput that the loop reads; the engine itself is not needed."""
    loop = StepLoop(lambda: None, lambda engine: None)
    ticket = Ticket([VllmOrder([1], None)])
    loop._texts["0"] = _Text(ticket, ticket.orders[0], Written(0))
    piece = SimpleNamespace(token_ids=[5, 6], logprobs=None, finish_reason=word)
    loop._take_out(None, SimpleNamespace(request_id="0", outputs=[piece], finished=True, kv_transfer_params=None))
    (written,) = ticket
    assert (written.finish_reason, written.problem, written.token_ids) == (reason, problem, [5, 6])


def test_no_other_file_compares_finish_reasons_by_hand() -> None:
    package = Path(__file__).parents[1] / "src" / "latentext"
    written_here = {"engines/transformers/decode.py", "engines/transformers/verify_decode.py", "finish_reasons.py"}
    comparing = ['finish_reason == "', 'finish_reason != "', 'finish_reason"] == "', 'finish_reason"] != "']
    found = [
        f"{path.relative_to(package)}: {words}"
        for path in package.rglob("*.py")
        if str(path.relative_to(package)) not in written_here
        for words in comparing
        if words in path.read_text()
    ]
    assert found == []
