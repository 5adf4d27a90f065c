"""The made texts: deterministic, honest about what is held out, right in what they count."""

import re
from itertools import pairwise
from random import Random

import pytest

from tiny.copying import copying
from tiny.corpus import sample_at
from tiny.dialogue import Exchange
from tiny.evaluation import FAMILIES
from tiny.repetition import held_out_repetition, repetition
from tiny.structured import alphabet, countdown, counting
from tiny.wordings import FRAMES, HELD_OUT_FRAMES, SPEECH_FRAMES
from tiny.words import DEMO_WORDS, HELD_OUT_WORDS, REPEATABLE_WORDS


def letters(text: str) -> str:
    """A wording's skeleton: lower case, letters only."""
    return re.sub(r"[^a-z]", "", text.lower())


def test_the_text_of_a_step_depends_on_seed_and_step_only() -> None:
    assert [sample_at(0, 5, place) for place in range(50)] == [sample_at(0, 5, place) for place in range(50)]
    assert sample_at(0, 5, 0) != sample_at(1, 5, 0)


def test_no_held_out_word_is_ever_repeated_in_training() -> None:
    assert not set(HELD_OUT_WORDS) & set(REPEATABLE_WORDS)
    assert set(DEMO_WORDS) <= set(REPEATABLE_WORDS)
    rng = Random(1)
    repeated = {repetition(rng).answer.split()[0].lower() for _ in range(5_000)}
    assert not repeated & set(HELD_OUT_WORDS)


def test_no_held_out_wording_is_a_training_frame() -> None:
    training = {letters(frame.replace("{V}", "").replace("{w}", "")) for frame in FRAMES + SPEECH_FRAMES}
    assert not training & {letters(frame.replace("{w}", "")) for frame in HELD_OUT_FRAMES}


def test_a_counting_answer_holds_the_word_as_often_as_the_request_says() -> None:
    rng = Random(2)
    for _ in range(2_000):
        exchange = repetition(rng)
        words = exchange.answer.split(" ")
        assert len(set(words)) == 1
        assert str(len(words)) in exchange.user
        assert words[0].lower() in exchange.user.lower()


def test_held_out_cases_carry_their_count_and_word() -> None:
    rng = Random(3)
    for _ in range(200):
        prompt, word, count = held_out_repetition(rng)
        assert word in prompt
        assert str(count) in prompt
        assert 1 <= count <= 50


def test_wordings_are_many() -> None:
    rng = Random(4)
    skeletons = {letters(repetition(rng).user.replace(word, "")) for word in ("cat",) for _ in range(3_000)}
    assert len(skeletons) > 2_000


def test_a_copy_is_its_source() -> None:
    rng = Random(5)
    for _ in range(500):
        exchange = copying(rng)
        assert exchange.user.endswith(exchange.answer)


@pytest.mark.parametrize("maker", [alphabet, counting, countdown])
def test_runs_of_known_length_are_even_sequences(maker) -> None:
    rng = Random(6)
    for _ in range(300):
        answer = maker(rng).answer
        items = [item for item in re.split(r"[,.\s]+", answer) if item != "go!"]
        values = [int(item) if item.isdigit() else ord(item) for item in items]
        assert len({b - a for a, b in pairwise(values)}) == 1, answer


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_text_is_trimmed_and_free_of_control_tokens(family: str) -> None:
    rng = Random(7)
    for _ in range(200):
        sample = FAMILIES[family](rng)
        texts = (sample.user, sample.answer, sample.system) if isinstance(sample, Exchange) else (sample.text,)
        for text in texts:
            assert "<|" not in text or family == "repetition"
            assert "  " not in text or family == "copying"
