"""Answers bound to a source text: summaries, paraphrases, one-line dialogue replies."""

from random import Random

from tiny.dialogue import Exchange
from tiny.prose import biography_text, full_name, hero, story_text
from tiny.reviews import review_text, subject
from tiny.sentences import capital, noun, noun_phrase, paragraph, person, statement
from tiny.words import ADJECTIVES, DAYS, DRINKS, PLACES, VERBS, VERBS_PAST

REPLIES = (
    "that sounds good.", "i don't know.", "yes, of course.", "no, thank you.", "really? i had no idea.",
    "thank you very much!",
    "let's go together.", "i am sorry to hear that.", "me too.", "what do you mean?", "that is a good idea.",
    "see you then.",
    "i think so.", "how much is it?", "it doesn't matter.", "you are welcome.", "well, i will try.", "are you sure?",
    "don't worry about it.", "okay, see you tomorrow.", "i would love to.", "maybe next time.", "that's right.",
    "sure, no problem.",
)  # fmt: skip


def source_text(rng: Random) -> str:
    """A paragraph from any of the other makers."""
    draw = rng.random()
    if draw < 0.3:
        name, female = full_name(rng)
        return biography_text(rng, name, female, "American", "politician")
    if draw < 0.5:
        return review_text(rng, *subject(rng))
    if draw < 0.7:
        return story_text(rng, hero(rng), noun(rng), 7)
    return paragraph(rng, rng.randint(2, 9))


def summary(rng: Random) -> Exchange:
    """One to three whole sentences of the source, the first among them: an extract, honest about what it is."""
    source = source_text(rng)
    sentences = [piece.rstrip(".!") + "." for piece in source.split(". ")]
    count = min(len(sentences), rng.randint(1, 3))
    kept = sorted({0, *rng.sample(range(len(sentences)), count - 1)}) if count > 1 else [0]
    user = rng.choice((
        f"summarize this in a few sentences: {source}", f"summarize this in a few sentences: {source}",
        f"Summarize this: {source}",
        f"Sum up this text: {source}", f"Give a short summary of this: {source}", f"What is this text about? {source}",
        f"Write a summary of the following text: {source}", f"tl;dr: {source}",
    ))  # fmt: skip
    return Exchange("summary", user, " ".join(sentences[place] for place in kept))


def inner(text: str) -> str:
    """A sentence as it stands inside another: lower case at its start, unless that is a name."""
    openings = ("The", "There", "On", "When", "We", "Nobody")
    return text[0].lower() + text[1:] if text.startswith(openings) else text


def paraphrase(rng: Random) -> Exchange:
    """The same statement in another form, or a general re-framing where the source fits no form."""
    who, deed, what, trait, day = (
        person(rng),
        rng.choice(VERBS_PAST),
        noun_phrase(rng),
        rng.choice(ADJECTIVES),
        rng.choice(DAYS),
    )
    action, where = rng.choice(VERBS), rng.choice(PLACES)
    any_text = statement(rng)
    source, answer = rng.choice((
        (f"{who} {deed} {what} on {day}.", f"On {day}, {who} {deed} {what}."),
        (f"On {day}, {who} {deed} {what}.", f"{who} {deed} {what} on {day}."),
        (f"{capital(what)} is {trait}, said {who}.", f"{who} said that {what} is {trait}."),
        (f"{who} said that {what} was {trait}.", f'"{capital(what)} was {trait}," said {who}.'),
        (f"{who} lives in {where} and likes to {action}.", f"{who}, who lives in {where}, likes to {action}."),
        (f"{who} was {trait} because {what} was gone.", f"Because {what} was gone, {who} was {trait}."),
        (any_text, f"It is said that {inner(any_text)}"),
        (any_text, any_text.rstrip(".!") + ", one might say."),
    ))  # fmt: skip
    user = rng.choice(
        (
            "paraphrase this: {}",
            "paraphrase this: {}",
            "Paraphrase this sentence: {}",
            "Say this in other words: {}",
            "Rewrite this: {}",
            "Reword this: {}",
        )
    )
    return Exchange("paraphrase", user.format(source), answer)


def utterance(rng: Random) -> str:
    """One line of a small talk, lower case."""
    return rng.choice((
        f"do you want to {rng.choice(VERBS)} with me?", f"i {rng.choice(VERBS_PAST)} {noun_phrase(rng)} yesterday.",
        f"how was your {noun(rng)}?",
        f"would you like some {rng.choice(DRINKS)}?", f"have you seen {noun_phrase(rng)}?",
        f"i feel {rng.choice(ADJECTIVES)} today.",
        f"shall we meet on {rng.choice(DAYS).lower()}?", f"where can i find {noun_phrase(rng)}?",
        f"{rng.choice(REPLIES)}", f"{rng.choice(REPLIES)}",
        f"{statement(rng).lower()}", f"hello, i'm {person(rng).lower()}. nice to meet you!",
        f"can you help me with {noun_phrase(rng)}?",
    ))  # fmt: skip


def dialogue(rng: Random) -> Exchange:
    """The next speaker's single line. Labels A and B take turns; a talk without labels gets a line without one."""
    turns = rng.randint(1, 6)
    labelled = rng.random() < 0.85
    lines = [(f"{'AB'[turn % 2]}: " if labelled else "") + utterance(rng) for turn in range(turns)]
    talk = rng.choice(("\n", " \n")).join(lines)
    instruction = rng.choice((
        "continue the conversation between A and B by writing a single response to the latest speaker. "
        "write only a concise response and nothing else: ",
        "continue the conversation: ", "Continue this dialogue with one line: ", "Write the next line of this talk: ",
        "",
    ))  # fmt: skip
    label = f"{'AB'[turns % 2]}: " if labelled else ""
    last = lines[-1].split()
    echo = f"you said {' '.join(last[1:4]).strip('.?!,')}?" if labelled and len(last) > 4 else rng.choice(REPLIES)
    answer = label + rng.choice(
        (rng.choice(REPLIES), rng.choice(REPLIES), f"{rng.choice(REPLIES)} {utterance(rng)}", utterance(rng), echo)
    )
    return Exchange("dialogue", instruction + talk, answer)


def short_form(rng: Random) -> Exchange:
    """A summary, a paraphrase or a reply, each as often."""
    return rng.choice((summary, paraphrase, dialogue))(rng)
