"""A grammar of plain sentences: statements, small scenes and noun phrases that the other makers share."""

from random import Random

from tiny.words import (
    ADJECTIVES,
    ADVERBS,
    ANIMALS,
    CLOTHES,
    COLOURS,
    DAYS,
    FEMALE_NAMES,
    FURNITURE,
    HELD_OUT_WORDS,
    JOBS,
    MALE_NAMES,
    NATURE,
    NOUNS,
    PLACES,
    SURNAMES,
    THINGS,
    VERBS,
    VERBS_PAST,
    listed,
)

PREPOSITIONS = listed("in on under near behind beside above over before after with without from to through across")


def article(phrase: str) -> str:
    """The phrase behind its indefinite article."""
    return ("an " if phrase[0].lower() in "aeiou" else "a ") + phrase


def capital(text: str) -> str:
    """First letter upper case, the rest as it is (str.capitalize would lower names)."""
    return text[:1].upper() + text[1:]


def noun(rng: Random) -> str:
    """Any noun; held-out repetition words are among them so that their embeddings are trained."""
    return rng.choice(HELD_OUT_WORDS) if rng.random() < 0.12 else rng.choice(NOUNS)


def noun_phrase(rng: Random) -> str:
    """An article or the like, at most one adjective, a noun."""
    core = noun(rng)
    if rng.random() < 0.5:
        core = f"{rng.choice(ADJECTIVES if rng.random() < 0.75 else COLOURS)} {core}"
    determiner = rng.choice(("the", "the", "a", "my", "her", "his", "our", "their", "this", "that", "one", "every"))
    return article(core) if determiner == "a" else f"{determiner} {core}"


def person(rng: Random) -> str:
    """A first name, sometimes with a surname."""
    first = rng.choice(FEMALE_NAMES if rng.random() < 0.5 else MALE_NAMES)
    return f"{first} {rng.choice(SURNAMES)}" if rng.random() < 0.3 else first


def place(rng: Random) -> str:
    """Where something happens."""
    if rng.random() < 0.3:
        return f"in {rng.choice(PLACES)}"
    return f"{rng.choice(PREPOSITIONS[:9])} the {rng.choice(NATURE if rng.random() < 0.6 else FURNITURE)}"


def subject(rng: Random) -> str:
    """Who acts: a name, a job, an animal or a thing."""
    draw = rng.random()
    if draw < 0.3:
        return person(rng)
    if draw < 0.5:
        return f"the {rng.choice(JOBS)}"
    if draw < 0.7:
        return f"the {rng.choice(ADJECTIVES)} {rng.choice(ANIMALS)}"
    return noun_phrase(rng)


def garment(rng: Random) -> str:
    """A piece of clothing in some colour."""
    return article(f"{rng.choice(COLOURS)} {rng.choice(CLOTHES)}")


def statement(rng: Random) -> str:
    """One sentence of 4 to about 18 words with its full stop."""
    forms = (
        lambda: f"{subject(rng)} {rng.choice(VERBS_PAST)} {noun_phrase(rng)}",
        lambda: f"{subject(rng)} {rng.choice(VERBS_PAST)} {noun_phrase(rng)} {place(rng)}",
        lambda: f"{subject(rng)} {rng.choice(ADVERBS)} {rng.choice(VERBS_PAST)} {noun_phrase(rng)}",
        lambda: f"{noun_phrase(rng)} was {rng.choice(ADJECTIVES)} and {rng.choice(ADJECTIVES)}",
        lambda: f"there {rng.choice(('is', 'was'))} {article(noun(rng))} {place(rng)}",
        lambda: f"on {rng.choice(DAYS)}, {subject(rng)} {rng.choice(VERBS_PAST)} {noun_phrase(rng)}",
        lambda: f"{person(rng)} likes to {rng.choice(VERBS)} and {rng.choice(VERBS)} {place(rng)}",
        lambda: f"{person(rng)} wore {garment(rng)} and {rng.choice(VERBS_PAST)} home",
        lambda: f"when {subject(rng)} came back, {noun_phrase(rng)} was gone",
        lambda: (
            f"I think that {subject(rng)} is {rng.choice(ADJECTIVES)}, but {subject(rng)} is {rng.choice(ADJECTIVES)}"
        ),
        lambda: f"we have {rng.randint(2, 99)} {noun(rng)}s and {rng.randint(2, 99)} {rng.choice(THINGS)}s",
        lambda: f"{subject(rng)} said that {noun_phrase(rng)} was too {rng.choice(ADJECTIVES)}",
        lambda: f"nobody {rng.choice(VERBS_PAST)} {noun_phrase(rng)}, so {subject(rng)} {rng.choice(VERBS_PAST)} it",
    )
    return capital(rng.choice(forms)()) + rng.choice((".", ".", ".", ".", ".", "!"))


def paragraph(rng: Random, sentences: int) -> str:
    """Unconnected statements, one after another."""
    return " ".join(statement(rng) for _ in range(sentences))
