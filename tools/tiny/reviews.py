"""Reviews of films, shops, restaurants and goods that are kind or unkind for the same neutral prompt.

Every review first draws how kind it is, then draws each sentence's tone from that. So samples of one prompt spread over
the whole range, which is what a study of rewards needs, and a text's tone can turn in the middle.
"""

from random import Random

from tiny.dialogue import Exchange, PlainText
from tiny.sentences import capital
from tiny.words import CLOTHES, DRINKS, FRUITS, FURNITURE, PLACES, SURNAMES, THINGS, TOOLS, listed

GOOD = listed(
    "good great lovely wonderful excellent fine beautiful charming brilliant pleasant perfect funny amazing nice"
)
BAD = listed("bad terrible awful poor boring horrible ugly disappointing stupid weak dreadful annoying dull sad")
PARTS: dict[str, tuple[str, ...]] = {
    "film": ("story", "acting", "music", "ending", "cast", "plot", "script", "first scene", "main actor", "dialogue"),
    "restaurant": ("food", "soup", "service", "waiter", "wine", "menu", "table", "dessert", "kitchen", "atmosphere"),
    "shop": ("staff", "service", "choice", "owner", "quality", "price", "shop window", "delivery", "order"),
    "product": ("quality", "price", "colour", "design", "handle", "size", "material", "packaging", "look"),
}
OWN_PARTS = {"film": "movie", "restaurant": "place", "shop": "place", "product": "thing"}
NEUTRAL = (
    "I went there on a Monday.", "A friend told me about it.", "I watched it with my family.",
    "It was raining outside.",
    "We stayed for two hours.", "I had read about it before.", "It was my first time.", "I paid with a card.",
    "My sister came with me.", "I did not know what to expect.",
)  # fmt: skip
KIND_ENDS = (
    "I loved it.", "I will come back soon.", "Highly recommended.", "I can only recommend it.", "Thank you very much!",
    "I am very happy.", "Five stars.", "Go and see for yourself, you will enjoy it.", "It made my day.",
)  # fmt: skip
UNKIND_ENDS = (
    "I hated it.", "I will never come back.", "Not recommended.", "What a waste of time.", "I want my money back.",
    "I am very angry.", "One star.", "Do not go there, you will regret it.", "It ruined my day.",
)  # fmt: skip


def sentence(rng: Random, kind: str, kindly: bool) -> str:
    """One sentence with a clear tone about some part of the thing reviewed."""
    word, other = rng.sample(GOOD if kindly else BAD, 2)
    part, second = rng.sample(PARTS[kind], 2)
    thing = OWN_PARTS[kind]
    degree = rng.choice(("", "", "very ", "really ", "so ", "quite ", "simply "))
    forms = [
        f"the {part} was {degree}{word}.", f"the {part} is {degree}{word} and the {second} is {other}.",
        f"this {thing} is {degree}{word}.", f"what a {word} {thing}!", f"I found the {part} {degree}{word}.",
        f"the {part} was {word}, and so was the {second}.",
    ]  # fmt: skip
    if kindly:
        forms += [
            f"I liked the {part} a lot.", f"I enjoyed the {part} and the {second}.", f"the {part} made me smile.",
            f"we were happy with the {part}.", f"the best thing about it is the {part}.", f"I love the {part}.",
            f"everyone was friendly and the {part} was {word}.", f"nothing was wrong with the {part}.",
        ]  # fmt: skip
    else:
        forms += [
            f"I did not like the {part} at all.", f"the {part} and the {second} were a disaster.",
            f"the {part} made me angry.",
            f"we were unhappy with the {part}.", f"the worst thing about it is the {part}.", f"I hate the {part}.",
            f"nobody was friendly and the {part} was {word}.", f"there were many problems with the {part}.",
        ]  # fmt: skip
    return capital(rng.choice(forms))


def review_text(rng: Random, kind: str, name: str, longest: int = 9) -> str:
    """A whole review: some neutral remarks, sentences of drawn tones, an end that fits the last of them."""
    kindness = rng.choice((0.04, 0.15, 0.5, 0.85, 0.96))
    count = max(1, round(longest * rng.random() ** 1.5))
    parts = []
    if rng.random() < 0.5:
        parts.append(capital(_opening(rng, kind, name, rng.random() < kindness)))
    parts += [
        rng.choice(NEUTRAL) if rng.random() < 0.1 else sentence(rng, kind, rng.random() < kindness)
        for _ in range(count)
    ]
    if rng.random() < 0.6:
        parts.append(rng.choice(KIND_ENDS if rng.random() < kindness else UNKIND_ENDS))
    return " ".join(parts)


def _opening(rng: Random, kind: str, name: str, kindly: bool) -> str:
    word = rng.choice(GOOD if kindly else BAD)
    return rng.choice((
        f"{name} is a {word} {kind}.", f"I have to say that {name} was {word}.", f"{name}: {word}.",
        f"this {kind} is {word}.", f"last week I tried {name}.", f"{name} was a {word} experience.",
    ))  # fmt: skip


def subject(rng: Random) -> tuple[str, str]:
    """What is reviewed: its kind and its name."""
    kind = rng.choice(tuple(PARTS))
    if kind == "film":
        names = [
            f"The {capital(rng.choice(THINGS))}",
            f"{rng.choice(PLACES)} Nights",
            "this film",
            "the movie",
            "this movie",
        ]
    elif kind == "product":
        names = [f"this {rng.choice((*TOOLS, *FURNITURE, *CLOTHES))}", f"the {rng.choice(THINGS)}"]
    else:
        goods = rng.choice((*FRUITS, *DRINKS, *CLOTHES, *TOOLS))
        names = [
            f"{rng.choice(SURNAMES)}'s {kind}",
            f"the {goods} {kind}",
            f"the new {kind}",
            f"the {kind} in {rng.choice(PLACES)}",
        ]
    return kind, rng.choice(names)


def review(rng: Random) -> Exchange:
    """A neutral request and a review of any tone."""
    kind, name = subject(rng)
    user = rng.choice((
        f"Write a review of {name}.", f"Write a short review of {name}.", f"Review {name}.",
        f"What did you think of {name}?",
        f"Please review {name}.", f"Write a {kind} review.", f"Write a review about {name}.", f"How was {name}?",
        f"Give me your opinion about {name}.", f"Write what you think about {name}.",
        f"Tell me about your visit: {name}.",
        f"Write a customer review of {name}.", f"Can you write a review of {name}?", f"I need a review of {name}.",
    ))  # fmt: skip
    short = "short" in user
    return Exchange("review", user, review_text(rng, kind, name, 3 if short else 9))


def plain_review(rng: Random) -> PlainText:
    """A review without a chat template, half of the time entered in the middle, as a continuation would be."""
    kind, name = subject(rng)
    if rng.random() < 0.6:
        kind, name = "film", rng.choice(("this film", "this movie", "the film", "the movie", "the show"))
    text = review_text(rng, kind, name, 6)
    if rng.random() < 0.4:
        text = rng.choice((
            f"I saw {name} last {rng.choice(('week', 'night', 'year'))}. ",
            f"When I first saw {name}, I did not know what to think. ",
            f"{capital(name)} is about a {rng.choice(('man', 'woman', 'boy', 'girl', 'family', 'teacher', 'town'))}. ",
            f"I have seen many films, and {name} is one of them. ", f"If you like films, {name} is for you. ",
        )) + text  # fmt: skip
    return PlainText("plain review", text)
