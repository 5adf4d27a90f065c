"""The counting task: "repeat WORD N times" in very many wordings.

A wording is put together from a frame (the sentence form), fillers (verb, noun for one repetition, politeness), a way
to write the word (quoted or bare) and a way to write the number. The variety matters more than any single form: a
model that saw a few dozen templates keys on them, one that saw thousands has to find the number and the word. Noise
sentences and invented words inside some frames teach it to look past words that it does not know.
"""

from random import Random

from tiny.dialogue import Exchange
from tiny.wordings import (
    CLOSINGS,
    FRAMES,
    GERUNDS,
    HELD_OUT_FRAMES,
    NOISE,
    POLITE_OPENINGS,
    QUOTES,
    SPEECH_FRAMES,
    SYSTEM_TEXTS,
    UNITS,
    VERBS,
)
from tiny.words import DEMO_WORDS, HELD_OUT_WORDS, REPEATABLE_WORDS

_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwz", "aeiou"


def invented_word(rng: Random) -> str:
    """A pronounceable word that no list holds, so that the tokenizer cuts it into several tokens."""
    return "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.randint(2, 3))) + rng.choice(
        ("", "", rng.choice(_CONSONANTS))
    )


def quoted(rng: Random, word: str, bare_share: float = 0.45) -> str:
    """The word as a prompt may write it: bare, or in one of several kinds of marks."""
    return word if rng.random() < bare_share else rng.choice(QUOTES).format(word)


def wording(rng: Random, count: int, word: str) -> str:
    """One request to repeat ``word`` ``count`` times, in a form drawn from the whole grammar."""
    verb = rng.choice(VERBS)
    opening = ""
    if rng.random() < 0.55:
        frame = rng.choice(FRAMES)
        if rng.random() < 0.45:
            opening, verb = rng.choice(POLITE_OPENINGS), verb[0].lower() + verb[1:]
    else:
        frame = rng.choice(SPEECH_FRAMES)
    text = opening + frame.format(
        V=verb,
        v=rng.choice(VERBS).lower(),
        g=rng.choice(GERUNDS),
        u=_unit(rng),
        n=count,
        w=quoted(rng, word),
    )
    if rng.random() < 0.3:
        text += rng.choice(CLOSINGS)
    question = text.split()[0] in {"Could", "Can", "Would", "Will", "What", "How", "May", "Is", "If", "Do"}
    text += rng.choice(("?", "?", "")) if question else rng.choice((".", ".", ".", "", "", "!", ":"))
    return _with_noise(rng, text)


def _unit(rng: Random) -> str:
    unit = rng.choice(UNITS) if rng.random() < 0.9 else invented_word(rng) + "s"
    return f"{rng.choice(('exact', 'identical', 'separate', 'full', 'clean'))} {unit}" if rng.random() < 0.12 else unit


def _with_noise(rng: Random, text: str) -> str:
    """Sometimes a sentence before or after, lower case, or an unknown word: none of it changes the task."""
    if rng.random() < 0.12:
        text = f"{text} {rng.choice(NOISE)}"
    if rng.random() < 0.06:
        text = f"{rng.choice(NOISE)} {text}"
    if rng.random() < 0.05:
        text = f"{invented_word(rng).capitalize()}, {text[0].lower()}{text[1:]}"
    return text[0].lower() + text[1:] if rng.random() < 0.08 else text


def draw_word(rng: Random) -> str:
    """Mostly list words; the demo's ten a little more often; now and then a capitalised or an invented one."""
    draw = rng.random()
    if draw < 0.10:
        return rng.choice(DEMO_WORDS)
    if draw < 0.88:
        word = rng.choice(REPEATABLE_WORDS)
        return word.capitalize() if rng.random() < 0.05 else word
    return invented_word(rng)


def repetition(rng: Random, longest: int = 60) -> Exchange:
    """A request and its exact answer: the word ``count`` times, single spaces between."""
    word = draw_word(rng)
    count = rng.randint(1, longest)
    if word not in REPEATABLE_WORDS and word.lower() not in REPEATABLE_WORDS:
        count = rng.randint(1, max(1, longest // 2))
    system = rng.choice(SYSTEM_TEXTS) if rng.random() < 0.12 else ""
    return Exchange("repetition", wording(rng, count, word), " ".join([word] * count), system)


def held_out_repetition(rng: Random, longest: int = 50) -> tuple[str, str, int]:
    """(prompt, word, count) from wordings and words that training never joins in this task."""
    word, count = rng.choice(HELD_OUT_WORDS), rng.randint(1, longest)
    prompt = rng.choice(HELD_OUT_FRAMES).format(w=quoted(rng, word), n=count)
    return prompt, word, count
