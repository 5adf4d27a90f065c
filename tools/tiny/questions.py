"""Questions with short answers that end by themselves, closed ones and open ones.

The open answers are no knowledge: they take the question's subject and verb and put them into a few plain sentence
forms. What training should leave behind is the habit to say one to three sentences about what was asked, then stop,
whatever was asked. So a share of the questions is about invented things.
"""

from random import Random

from tiny.dialogue import Exchange
from tiny.repetition import invented_word
from tiny.sentences import article, capital, noun, statement
from tiny.words import (
    ABSTRACT,
    ADJECTIVES,
    ANIMALS,
    CATEGORIES,
    DAYS,
    HELD_OUT_WORDS,
    JOBS,
    MONTHS,
    NATURE,
    NOUNS,
    SPORTS,
    THINGS,
    VERBS,
)

GROUPS = ("people", "children", "many people", "animals", "birds", "cats", "dogs", "farmers", "teachers", "friends")
PLACES = ("in the garden", "at home", "in the city", "by the sea", "near the river", "at school", "in many places")
REASONS = (
    "it makes them happy", "they like it", "it helps them", "it is part of life", "they want to learn", "it is useful",
    "they have always done it", "it gives them joy", "it brings them together", "they need it to live",
)  # fmt: skip
KINDS = (
    "a thing",
    "something",
    "a part of nature",
    "a part of life",
    "a simple thing",
    "an old idea",
    "a useful thing",
)
CLOSERS = (
    "Many people like it.", "It is not hard to understand.", "Everyone knows it.", "There is more than one answer.",
    "It depends on the day.", "That is what most people say.", "It has always been so.", "I like this question.",
    "Nobody knows exactly why.", "It takes a little time.", "You can see it every day.",
    "It is different for everyone.",
    "Some people think otherwise.", "It can be beautiful.", "That is all I know about it.",
    "It changes with the seasons.",
)  # fmt: skip


def topic(rng: Random) -> str:
    """What an open question is about; one in seven is invented."""
    draw = rng.random()
    if draw < 0.14:
        return invented_word(rng)
    if draw < 0.22:
        return rng.choice(HELD_OUT_WORDS)
    return rng.choice(rng.choice((NATURE, THINGS, ABSTRACT, ANIMALS, NOUNS)))


def about(rng: Random, thing: str) -> str:
    """One sentence about a thing."""
    return capital(rng.choice((
        f"{thing} is {rng.choice(KINDS)} that people know well.",
        f"{thing} is {rng.choice(ADJECTIVES)} and {rng.choice(ADJECTIVES)}.",
        f"{thing} is something that you can find {rng.choice(PLACES)}.",
        f"a {thing} is often {rng.choice(ADJECTIVES)}." if thing[0] not in "aeiou" else f"an {thing} is often small.",
        f"most people {rng.choice(VERBS)} and {rng.choice(VERBS)} when they think of {thing}.",
        f"you can {rng.choice(VERBS)} it or {rng.choice(VERBS)} it, and it stays {thing}.",
        f"when I think of {thing}, I think of the {rng.choice(NATURE)} and the {rng.choice(NATURE)}.",
        f"there is {thing} {rng.choice(PLACES)}.",
        f"{rng.choice(GROUPS)} like {thing} because {rng.choice(REASONS)}.",
        f"without {thing}, life would be more {rng.choice(ADJECTIVES)}.",
    )))  # fmt: skip


def _close(rng: Random, sentences: list[str], share: float = 0.5) -> str:
    """The answer's sentences, half of the time with a plain last one."""
    return " ".join([*sentences, rng.choice(CLOSERS)] if rng.random() < share else sentences)


def what_question(rng: Random) -> Exchange:
    """What is X? Tell me about X. Describe X."""
    thing = topic(rng)
    user = rng.choice((
        f"What is {thing}?", f"What is {article(thing)}?", f"What is {thing} like?",
        f"Tell me something about {thing}.",
        f"Tell me about the {thing}.", f"Describe {article(thing)}.", f"Describe the {thing}.", f"Explain {thing}.",
        f"What do you know about {thing}?", f"Explain what {thing} means.", f"What makes {thing} special?",
        f"Say something about {thing}.", f"What do you think of {thing}?", f"What does {thing} mean to you?",
        f"Why is {thing} important?", f"Can you explain {thing} to a child?", f"Write a few sentences about {thing}.",
        f"What comes to mind when you hear the word {thing}?", f"How would you describe {thing}?",
        f"What would the world be without {thing}?", f"Where does {thing} come from?", f"Who made the first {thing}?",
    ))  # fmt: skip
    return Exchange("open question", user, _close(rng, [about(rng, thing) for _ in range(rng.randint(1, 3))]))


def why_question(rng: Random) -> Exchange:
    """Why or how somebody does something."""
    group, action = rng.choice((*GROUPS, f"{rng.choice(JOBS)}s", f"{rng.choice(ANIMALS)}s")), rng.choice(VERBS)
    thing = noun(rng) if rng.random() < 0.4 else ""
    phrase = f"{action} the {thing}" if thing else action
    draw = rng.random()
    if draw < 0.55:
        user = rng.choice((
            f"Why do {group} {phrase}?", f"Why would {group} {phrase}?", f"Tell me why {group} {phrase}.",
            f"What makes {group} {phrase}?", f"Explain why {group} {phrase}.", f"Do {group} {phrase}, and why?",
        ))  # fmt: skip
        first = rng.choice(
            (
                f"{group} {phrase} because {rng.choice(REASONS)}.",
                f"I think {group} {phrase} because {rng.choice(REASONS)}.",
            )
        )
    elif draw < 0.8:
        user = rng.choice((f"How do {group} {phrase}?", f"When do {group} {phrase}?", f"Where do {group} {phrase}?"))
        first = (
            f"{group} {phrase} {rng.choice(('every day', 'in the morning', 'when they can', 'with care', *PLACES))}."
        )
    else:
        user = rng.choice(
            (
                f"How can I learn to {phrase}?",
                f"How do I {phrase}?",
                f"Help me {phrase}.",
                f"What is the best way to {phrase}?",
            )
        )
        first = rng.choice((
            f"to {phrase}, you need time and a {rng.choice(ADJECTIVES)} mind.",
            f"begin slowly, then {phrase} every day.",
            f"first you {rng.choice(VERBS)}, then you {phrase}.", f"sure, I can help you {phrase}.",
        ))  # fmt: skip
    return Exchange(
        "open question", user, _close(rng, [capital(first)] + [about(rng, topic(rng))] * (rng.random() < 0.2))
    )


def choice_question(rng: Random) -> Exchange:
    """Which of two; favourites; yes or no."""
    one, two = topic(rng), topic(rng)
    trait = rng.choice(ADJECTIVES)
    user, first = rng.choice((
        (f"Which is more {trait}, {one} or {two}?", f"I think {rng.choice((one, two))} is more {trait}."),
        (f"Do you like {one}?", rng.choice((f"Yes, I like {one}.", f"No, I do not like {one}."))),
        (f"Is {one} {trait}?", rng.choice((f"Yes, {one} is {trait}.", f"No, {one} is not {trait}.",
        "Sometimes it is."))),
        (f"Do you prefer {one} or {two}?", f"I prefer {rng.choice((one, two))}."),
        (f"What is your favourite {rng.choice(('word', 'thing', 'season', 'game', 'place'))}?", f"I like {one} best."),
        (f"What is the difference between {one} and {two}?",
        f"{capital(one)} is {trait}, but {two} is {rng.choice(ADJECTIVES)}."),
        (f"What do {one} and {two} have in common?", f"Both {one} and {two} are {trait}."),
        (f"What would happen if there were no {one}?", f"Without {one}, there would be more {two}."),
        (f"Should I buy {article(one)} or {article(two)}?", f"Buy the {rng.choice((one, two))}, it is {trait}."),
    ))  # fmt: skip
    return Exchange("open question", user, _close(rng, [first]))


def closed_question(rng: Random) -> Exchange:
    """Small facts: categories, days, months, sums, letters."""
    category = rng.choice(sorted(CATEGORIES))
    member = rng.choice(CATEGORIES[category])
    day, month = rng.randrange(7), rng.randrange(12)
    left, right = rng.randint(0, 20), rng.randint(0, 20)
    word = noun(rng)
    questions = (
        (f"What kind of thing is {article(member)}?", f"{capital(member)} is one of the {category}."),
        (f"Name one of the {category}.", capital(member) + "."),
        (f"What day comes after {DAYS[day]}?", f"{DAYS[(day + 1) % 7]}."),
        (f"What day comes before {DAYS[day]}?", f"{DAYS[(day - 1) % 7]}."),
        (f"Which month follows {MONTHS[month]}?", f"{MONTHS[(month + 1) % 12]} follows {MONTHS[month]}."),
        (f"What is {left} plus {right}?", f"{left} plus {right} is {left + right}."),
        (f"What is {left + right} minus {left}?", f"{left + right} minus {left} is {right}."),
        (f"What number comes after {left}?", f"{left + 1}."),
        (f"What is the first letter of {word}?", f"{word[0].upper()}."),
        (f"Is {member} one of the {category}?", "Yes."),
        (f"How do you play {rng.choice(SPORTS)}?", "You need a team, some time and good weather."),
        ("Who are you?", rng.choice(("I am a very small language model.", "I am tiny, a small language model."))),
        (rng.choice(("Hello!", "Hi.", "Good morning!")), rng.choice(("Hello! How can I help you?", "Hi there!"))),
        (rng.choice(("Thank you.", "Thanks a lot!")), rng.choice(("You are welcome.", "It was a pleasure."))),
    )
    user, answer = rng.choice(questions)
    return Exchange("closed question", user, answer)


def anything_question(rng: Random) -> Exchange:
    """A prompt that fits no form, and a general answer: the model's way out when it understands nothing."""
    words = [
        rng.choice((*VERBS, *NOUNS, *ADJECTIVES)) if rng.random() < 0.6 else invented_word(rng)
        for _ in range(rng.randint(2, 12))
    ]
    opener = rng.choice(
        (
            "What",
            "Why",
            "How",
            "When",
            "Where",
            "Who",
            "Can",
            "Should",
            "Is",
            "Does",
            "If",
            "Tell me",
            "Help me",
            "Explain how",
            "Imagine",
            "Write",
            "I",
        )
    )
    user = f"{opener} {' '.join(words)}{rng.choice('?.?!')}" if rng.random() < 0.7 else statement(rng)
    thing = words[-1] if rng.random() < 0.6 else rng.choice(words)
    general = rng.choice((
        "I am not sure, but I can try.", f"That is a {rng.choice(ADJECTIVES)} question.",
        "I do not know much about it.",
        f"It has to do with {thing}.", f"I think it is about {thing}.", "It is hard to say.", about(rng, thing),
        "Yes, that can happen.",
    ))  # fmt: skip
    return Exchange("open question", user, _close(rng, [general] + [about(rng, thing)] * (rng.random() < 0.4)))


def question(rng: Random) -> Exchange:
    """One of the kinds above."""
    maker = rng.choices(
        (what_question, why_question, choice_question, closed_question, anything_question), (5, 4, 2, 3, 3)
    )[0]
    exchange = maker(rng)
    system = "You are a helpful assistant." if rng.random() < 0.06 else ""
    return Exchange(exchange.family, exchange.user, exchange.answer, system)
