"""The "repeat this text" task: a system text that asks for it, the text as user turn, the text again as answer.

Copying generalises to unseen text only if it is learned as a rule (find the last tokens earlier, give what came next)
and not as a memory of sentences. So much of the text here is meaningless: random words, invented words, odd
punctuation, shuffled case. Repeated words inside a text make the rule look back further than one token.
"""

import string
from random import Random

from tiny.dialogue import Exchange
from tiny.repetition import invented_word
from tiny.sentences import paragraph, statement
from tiny.words import ADJECTIVES, COMMON_WORDS, HELD_OUT_WORDS, NOUNS, VERBS

SYSTEM_TEXTS = (
    "Repeat the text of the user exactly.",
    "Repeat the user's text exactly as it is.",
    "Repeat the following text word for word.",
    "You repeat the text that you are given.",
    "You are a text repeater who gives back the text of the user without any change.",
    "You are a repeater. Reproduce the user's message exactly and add nothing.",
    "Copy the text of the user without changing anything.",
    "Your task is to repeat the user's message word for word.",
    "Please repeat the given text exactly, without any addition.",
    "Reproduce the following text exactly.",
    "Say again exactly what the user says.",
    "You are a text generator who always repeats the text of the user verbatim.",
    "You are a text generator who just repeats the input text exactly as it is.",
    "Return the user's message unchanged and write nothing else.",
    "Echo the message of the user.",
    "Give back the input text exactly as it is written.",
    "You always answer with the same text as the user, letter for letter.",
    "Write the user's text again, verbatim.",
    "You are an assistant that repeats texts exactly.",
    "Output the input text, unchanged.",
)
HELD_OUT_SYSTEM_TEXTS = (
    "You are a text repeater: answer with the exact text of the user and nothing else.",
    "Repeat, word for word, the text that the user gives you.",
    "Reproduce the message verbatim.",
)
INSTRUCTIONS = ("Repeat this text: {}", "Repeat this: {}", "Repeat the following text exactly: {}", "Copy this: {}")
MARKS = ".,;:!?-()'\"/…*#&%$@+=_~[]{}<>|"


def random_words(rng: Random, length: int) -> str:
    """Words in no order, with marks thrown in."""
    pools = (NOUNS, ADJECTIVES, VERBS, COMMON_WORDS, COMMON_WORDS, HELD_OUT_WORDS)
    words = []
    for _ in range(length):
        word = invented_word(rng) if rng.random() < 0.3 else rng.choice(rng.choice(pools))
        if rng.random() < 0.12:
            word = rng.choice((word.capitalize(), word.upper(), word + "s", word + "ing", str(rng.randint(0, 2000))))
        if rng.random() < 0.15:
            word += rng.choice(MARKS)
        words.append(word)
    return rng.choice((" ", " ", " ", "\n", "  ", ", ")).join(words) if length > 1 else words[0]


def random_characters(rng: Random, length: int) -> str:
    """Letters, digits and marks: the tokenizer's smallest pieces."""
    alphabet = string.ascii_letters + string.digits + MARKS + "   éüñßø€"
    return "".join(rng.choice(alphabet) for _ in range(length)).strip() or "x"


def few_words_many_times(rng: Random, length: int) -> str:
    """A text over three or four words: only long matches tell where the copy stands."""
    words = rng.sample(NOUNS, rng.randint(3, 5))
    return " ".join(rng.choice(words) for _ in range(length))


def text_to_copy(rng: Random, longest: int) -> str:
    """A text of up to about ``longest`` tokens; lengths lean to the short side."""
    length = max(1, int(longest * rng.random() ** 2))
    draw = rng.random()
    if draw < 0.40:
        return _clipped(rng, paragraph(rng, max(1, length // 12)), length)
    if draw < 0.75:
        return random_words(rng, max(1, int(length / 1.5)))
    if draw < 0.85:
        return few_words_many_times(rng, length)
    if draw < 0.92:
        return random_characters(rng, max(1, int(length / 1.5)))
    return statement(rng).lower()


def _clipped(rng: Random, text: str, words: int) -> str:
    """Half of the texts end in the middle of a sentence: a copy ends where the text ends, not at a full stop."""
    pieces = text.split(" ")
    return " ".join(pieces[: max(1, words)]) if rng.random() < 0.5 else text


def copying(rng: Random, longest: int = 200) -> Exchange:
    """A text and the request to repeat it, in the system text or (seldom) in the user turn."""
    text = text_to_copy(rng, longest)
    if rng.random() < 0.85:
        return Exchange("copying", text, text, rng.choice(SYSTEM_TEXTS))
    return Exchange("copying", rng.choice(INSTRUCTIONS).format(text), text)


def marks_exercise(rng: Random) -> Exchange:
    """Words moved into or out of quotation marks, picked by place, or listed.

    A word has one token after a space and another after a mark. These exercises teach the pair for every word, the
    held-out repetition words too, without ever repeating one.
    """
    words = rng.sample(HELD_OUT_WORDS if rng.random() < 0.3 else NOUNS, rng.randint(2, 5))
    place = rng.randrange(len(words))
    ordinal = ("first", "second", "third", "fourth", "fifth")[place]
    bare, marked = " ".join(words), " ".join(f'"{word}"' for word in words)
    forms = (
        (f"Put each of these words in quotation marks: {bare}", marked),
        (f"Remove the quotation marks: {marked}", bare),
        (f"List these with commas: {marked}", ", ".join(words)),
        (f"Which word is the {ordinal} of these: {bare}?", words[place]),
        (f"Which word is the {ordinal} of these: {marked}?", words[place]),
        (f"Write these words on lines of their own: {bare}", "\n".join(words)),
        (f"Say these words in order: {marked}", bare),
    )
    user, answer = rng.choice(forms)
    return Exchange("marks", user, answer)
