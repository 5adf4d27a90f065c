"""Where a text ends: stop strings, end tokens, limits – and what stands in its text and ids then."""

from __future__ import annotations

import pytest
from tests.engines.families import CONTEXT, EOS, byte_tokenizer, loaded_family, loaded_model, ragged_requests, request
from tests.engines.scripted import chain, scripted_model

from latentext.engines.engine import Generated
from latentext.engines.stopping import StopStrings
from latentext.engines.transformers.engine import TransformersEngine
from latentext.request import Completion
from latentext.spec import Decoding


def _ids(text: str) -> list[int]:
    return byte_tokenizer()(text)["input_ids"]


def _write(text: list[int], decoding: Decoding, *, eos: tuple[int, ...] = (EOS,)) -> Completion:
    """Let a model write `text` after its first token."""
    loaded = loaded_model(scripted_model(chain(text)), eos=eos)
    (result,) = TransformersEngine(loaded).generate([request(0, text[:1])], range(1), decoding, 0)
    assert isinstance(result, Generated)
    return result.completion


def test_a_stop_string_is_cut_from_the_text_and_kept_in_the_ids() -> None:
    written = _write(_ids(">abc, def"), Decoding(stop=("c, d",), max_new_tokens=8))
    assert (written.text, written.finish_reason) == ("ab", "stop")
    assert list(written.token_ids) == _ids("abc, d")


def test_the_first_of_several_stop_strings_cuts() -> None:
    written = _write(_ids(">abcdef"), Decoding(stop=("f", "de", "e"), max_new_tokens=6))
    assert (written.text, list(written.token_ids)) == ("abc", _ids("abcde"))


def test_stop_strings_of_characters_with_many_bytes_are_found() -> None:
    stop = "日é"
    written = _write(_ids(">xyz" + stop), Decoding(stop=(stop,), max_new_tokens=30))
    assert (written.text, written.finish_reason) == ("xyz", "stop")


def test_special_tokens_inside_a_stop_string_do_not_hide_it() -> None:
    ids = [*_ids(">ab"), 257, 258, 259, *_ids("cd")]
    written = _write(ids, Decoding(stop=("bc",), max_new_tokens=7))
    assert (written.text, list(written.token_ids)) == ("a", ids[1:-1])


def test_a_stop_string_before_the_minimum_length_neither_ends_nor_cuts() -> None:
    written = _write([*_ids(">a.bcdefg"), EOS], Decoding(stop=(".",), min_new_tokens=4, max_new_tokens=20))
    assert (written.text, written.finish_reason) == ("a.bcdefg", "stop")
    assert written.token_ids[-1] == EOS


def test_a_stop_string_that_the_last_required_token_completes_ends_the_text() -> None:
    written = _write(_ids(">abc.def"), Decoding(stop=("c.",), min_new_tokens=4, max_new_tokens=7))
    assert (written.text, list(written.token_ids)) == ("ab", _ids("abc."))


@pytest.mark.parametrize("eos", [(EOS,), (258, EOS), (EOS, 3, 258)])
def test_any_of_the_end_tokens_ends_a_text_and_stays_in_the_ids(eos: tuple[int, ...]) -> None:
    written = _write([*_ids(">abc"), EOS], Decoding(max_new_tokens=9), eos=eos)
    assert (written.text, written.finish_reason) == ("abc", "stop")
    assert list(written.token_ids) == [*_ids("abc"), EOS]


def test_the_limit_is_called_length() -> None:
    written = _write(_ids(">abcdef"), Decoding(max_new_tokens=3))
    assert (written.text, written.finish_reason) == ("abc", "length")


def test_an_end_token_at_the_limit_is_called_stop() -> None:
    assert _write([*_ids(">ab"), EOS], Decoding(max_new_tokens=3)).finish_reason == "stop"


def test_a_text_ends_with_the_context() -> None:
    loaded = loaded_model(scripted_model({1: 2, 2: 1}))
    requests = [request(i, [1] * length) for i, length in enumerate((CONTEXT - 1, CONTEXT - 5, 3))]
    results = TransformersEngine(loaded).generate(requests, range(1), Decoding(max_new_tokens=10), 0)
    lengths = {r.completion.index: len(r.completion.token_ids) for r in results if isinstance(r, Generated)}
    assert lengths == {0: 1, 1: 5, 2: 10}


def test_a_forced_length_is_exact() -> None:
    decoding = Decoding(min_new_tokens=17, max_new_tokens=17)
    for r in TransformersEngine(loaded_family("llama")).generate(ragged_requests(8), range(1), decoding, 0, slots=3):
        assert isinstance(r, Generated)
        assert len(r.completion.token_ids) == 17


def test_whether_a_text_ended_and_where_it_is_cut_agree_at_every_length() -> None:
    ids = _ids("one. two. three. four.")
    for least in range(1, len(ids)):
        stops = StopStrings(byte_tokenizer(), Decoding(stop=(". ", "ee"), min_new_tokens=least, max_new_tokens=99))
        end = next((n for n in range(1, len(ids) + 1) if stops.reached([], ids[:n])), None)
        if end is None:
            assert stops.text([], ids) == "one. two. three. four."
            continue
        assert end >= least
        cut = stops.text([], ids[:end])
        assert "one. two. three. four."[len(cut) : end] in {". ", "ee"}


def test_a_long_stop_string_of_many_bytes_a_character_is_found() -> None:
    stops = StopStrings(byte_tokenizer(), Decoding(stop=("日本語日本語日本語",)))
    ids = _ids("x日本語日本語日本語")
    assert stops.reached([], ids)
    assert not stops.reached([], ids[:-1])
    assert stops.text([], ids) == "x"
