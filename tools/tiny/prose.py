"""Biographies of invented people and small stories, as answers and as plain text."""

from random import Random

from tiny.dialogue import Exchange, PlainText
from tiny.repetition import invented_word
from tiny.sentences import article, capital, noun, noun_phrase, paragraph, place, statement
from tiny.words import (
    ADJECTIVES,
    ANIMALS,
    COUNTRY_ADJECTIVES,
    FEMALE_NAMES,
    INSTRUMENTS,
    JOBS,
    MALE_NAMES,
    MONTHS,
    NATURE,
    PLACES,
    SPORTS,
    SURNAMES,
    THINGS,
    VERBS,
    VERBS_PAST,
    listed,
)

PROFESSIONS = listed(
    "politician politician politician lawyer senator mayor governor writer painter singer actor doctor teacher "
    "engineer judge soldier farmer chemist journalist pilot musician president"
)
ROLES, CHILDREN = (
    ("leader", "speaker", "friend", "worker"),
    ("one child", "two children", "three children", "no children"),
)
SUBJECTS = ("law", "history", "medicine", "music", "mathematics", "economics", "art", "physics", "biology", "politics")
TIMES = ("day", "night", "winter", "summer")
VISITORS = (*ANIMALS, *JOBS)
CRIES = ("where is", "who took", "I need", "look at", "give me")
ASKING = ("what is", "how is", "where is", "who has")
DEEDS = (
    "fought for better schools", "worked for clean water", "wrote a book about the sea", "helped the poor",
    "built a new hospital", "spoke for the farmers", "lost the first election", "won the election by a few votes",
    "travelled through the country", "opened a small shop", "gave many speeches", "signed a law on taxes",
    "protected the forests", "led the city through a hard winter", "taught at a college", "served in the army",
)  # fmt: skip


def full_name(rng: Random) -> tuple[str, bool]:
    """An invented person and whether the text says "she"; some surnames are invented too."""
    female = rng.random() < 0.5
    first = rng.choice(FEMALE_NAMES if female else MALE_NAMES)
    middle = f" {rng.choice('ABCDEFGHJKLMNPRSTW')}." if rng.random() < 0.25 else ""
    last = rng.choice(SURNAMES) if rng.random() < 0.75 else invented_word(rng).capitalize()
    return f"{first}{middle} {last}", female


def biography_text(rng: Random, name: str, female: bool, origin: str, job: str) -> str:
    """Birth, youth, work, private life, end: a drawn number of sentences in that order."""
    he, his, him = ("she", "her", "her") if female else ("he", "his", "him")
    last = name.split()[-1]
    born = rng.randint(1850, 1985)
    kind = article(f"{origin} {job}".strip())
    start = rng.choice((
        f"{name} was {kind}.", f"{name} (born {rng.choice(MONTHS)} {rng.randint(1, 28)}, {born}) is {kind}.",
        f"{name} was born in {rng.choice(PLACES)} in {born}.", f"{name} is {kind} from {rng.choice(PLACES)}.",
        f"{name} is a {rng.choice(('well known', 'popular', 'respected', 'young', 'famous'))} {job}.",
    ))  # fmt: skip
    youth = (
        f"{capital(he)} grew up in {rng.choice(PLACES)}, where {his} father was {article(rng.choice(JOBS))}.",
        f"As a child, {he} liked to {rng.choice(VERBS)} and {rng.choice(VERBS)}.",
        f"{capital(he)} studied {rng.choice(SUBJECTS)} in {rng.choice(PLACES)}.",
        f"{capital(his)} mother, {article(rng.choice(JOBS))}, taught {him} to {rng.choice(VERBS)}.",
        f"{last} went to school in {rng.choice(PLACES)} and left it in {born + 18}.",
    )
    work = (
        f"In {born + rng.randint(20, 35)}, {he} became {article(rng.choice(PROFESSIONS))}.",
        f"{last} {rng.choice(DEEDS)} and {rng.choice(DEEDS)}.",
        f"{capital(he)} {rng.choice(DEEDS)}.",
        f"In {born + rng.randint(30, 45)}, {last} {rng.choice(DEEDS)}.",
        f"{capital(his)} work made {him} {rng.choice(ADJECTIVES)} and {rng.choice(ADJECTIVES)}.",
        f"Later {he} moved to {rng.choice(PLACES)} and {rng.choice(DEEDS)}.",
        f"People said that {he} was {article(rng.choice(ADJECTIVES))} {rng.choice(ROLES)}.",
    )
    private = (
        f"{capital(he)} was married and had {rng.choice(CHILDREN)}.",
        f"In {his} free time, {he} played {rng.choice(('the ' + rng.choice(INSTRUMENTS), rng.choice(SPORTS)))}.",
        f"{last} lives in {rng.choice(PLACES)} with {article(rng.choice(ANIMALS))}.",
        f"{capital(he)} died in {rng.choice(PLACES)} in {born + rng.randint(50, 90)}.",
        f"{last} is remembered for {his} {rng.choice(ADJECTIVES)} {rng.choice(('words', 'mind', 'work', 'voice'))}.",
    )
    chosen = [
        start,
        *rng.sample(youth, rng.randint(0, 3)),
        *rng.sample(work, rng.randint(1, 5)),
        *rng.sample(private, rng.randint(0, 3)),
    ]
    return " ".join(chosen)


def biography(rng: Random) -> Exchange:
    """A request for a biography by name and the text about that name."""
    name, female = full_name(rng)
    origin, job = rng.choice(COUNTRY_ADJECTIVES), rng.choice(PROFESSIONS)
    user = rng.choice((
        f"Create a biography of {article(f'{origin} {job}')} named {name}",
        f"Create a biography of {article(f'{origin} {job}')} named {name}",
        f"Write a biography of {name}, {article(f'{origin} {job}')}.", f"Write a short biography of {name}.",
        f"Who was {name}?", f"Tell me about the life of {name}, {article(f'{origin} {job}')}.",
        f"Write about the life of {article(job)} named {name}.", f"Create a biography of {name}.", f"{name}",
    ))  # fmt: skip
    system = ""
    if len(user) < 35 or rng.random() < 0.1:
        system = rng.choice((
            "You are a text generator who always produces a biography of the instructed person",
            "You write biographies of the person that the user names.", "Write a biography of the given person.",
        ))  # fmt: skip
    return Exchange(
        "biography", user, biography_text(rng, name, female, "" if job not in user else origin, job), system
    )


def story_text(rng: Random, hero: str, thing: str, longest: int = 12) -> str:
    """A small story about a hero and a thing: a start, some turns, an end."""
    start = (
        f"Once there was {hero} who lived {place(rng)}.",
        f"One {rng.choice(('morning', 'evening', 'night', 'day'))}, {hero} found {article(thing)}.",
        f"It was a {rng.choice(ADJECTIVES)} {rng.choice(TIMES)}, and {hero} was {rng.choice(ADJECTIVES)}.",
        f"A long time ago, {hero} had {article(thing)}.",
    )  # fmt: skip

    def deed() -> str:
        return rng.choice(VERBS_PAST)

    turns = (
        lambda: f"The {thing} was {rng.choice(ADJECTIVES)} and {rng.choice(ADJECTIVES)}.",
        lambda: f"{capital(hero)} {deed()} the {thing} and {deed()} {noun_phrase(rng)}.",
        lambda: f"Then {article(rng.choice(ADJECTIVES))} {rng.choice(VISITORS)} came and {rng.choice(VERBS_PAST)} it.",
        lambda: f'"{capital(rng.choice(CRIES))} the {thing}!" said the {rng.choice(JOBS)}.',
        lambda: f"But nobody {rng.choice(VERBS_PAST)} the {thing}.",
        lambda: f"The {rng.choice(NATURE)} was {rng.choice(ADJECTIVES)}, so they {deed()} {noun_phrase(rng)}.",
        lambda: f"After that, {hero} wanted to {rng.choice(VERBS)} and to {rng.choice(VERBS)}.",
        lambda: statement(rng),
    )
    ends = (
        "In the end, everyone was glad.", f"And {hero} never saw the {thing} again.", "They went home and slept.",
        "The end.",
        f"From that day on, {hero} was {rng.choice(ADJECTIVES)}.", f"So the {thing} stayed where it was.",
        "Nobody ever spoke of it again.",
    )  # fmt: skip
    middle = [rng.choice(turns)() for _ in range(max(1, round(longest * rng.random() ** 1.3)))]
    return " ".join([rng.choice(start), *middle, rng.choice(ends)])


def hero(rng: Random) -> str:
    """Who a story is about."""
    if rng.random() < 0.4:
        return rng.choice((*FEMALE_NAMES, *MALE_NAMES))
    return f"a {rng.choice([word for word in ADJECTIVES if word[0] not in 'aeiouh'])} {rng.choice((*ANIMALS, *JOBS))}"


def story(rng: Random) -> Exchange:
    """A request for a story, free or based on a premise; its hero and thing return in the answer."""
    who, thing = hero(rng), noun(rng)
    premise = rng.choice((
        f"{capital(who)} found {article(thing)}.", f"{who} and the {thing}",
        f"{capital(who)} lost {article(thing)} {place(rng)}.",
        f"You wake up and find {article(thing)}. {capital(who)} is there.",
        f"{statement(rng)} {capital(who)} needs {article(thing)}.",
    ))  # fmt: skip
    user = rng.choice((
        f"write a story based on this: {premise}",
        f"write a story based on this: {paragraph(rng, rng.randint(0, 2))} {premise}".replace("  ", " "),
        f"Write a story about {who} and {article(thing)}.", f"Tell me a story about {article(thing)}.",
        f"Write a short story: {premise}",
        f"Tell a small story in which {who} finds {article(thing)}.", "Tell me a story.",
        f"Invent a story about {who}.",
    ))  # fmt: skip
    return Exchange("story", user, story_text(rng, who, thing, 4 if "short" in user or "small" in user else 12))


def plain_prose(rng: Random) -> PlainText:
    """Prose without a chat template: a story, a biography or loose sentences."""
    draw = rng.random()
    if draw < 0.4:
        return PlainText("plain prose", story_text(rng, hero(rng), noun(rng), 7))
    if draw < 0.6:
        name, female = full_name(rng)
        return PlainText(
            "plain prose", biography_text(rng, name, female, rng.choice(COUNTRY_ADJECTIVES), rng.choice(PROFESSIONS))
        )
    if draw < 0.7:
        return PlainText(
            "plain prose",
            f"{capital(rng.choice(ASKING))} the {rng.choice(THINGS)}? {statement(rng)}",
        )
    return PlainText("plain prose", paragraph(rng, rng.randint(1, 5)))
