"""The counting task: "repeat WORD N times" in very many wordings.

A wording is put together from a frame (the sentence form), fillers (verb, noun for one repetition, politeness), a way
to write the word (quoted or bare) and a way to write the number. The variety matters more than any single form: a
model that saw a few dozen templates keys on them, one that saw thousands has to find the number and the word. Noise
sentences and invented words inside some frames teach it to look past words that it does not know.
"""

from random import Random

from tiny.dialogue import Exchange
from tiny.words import DEMO_WORDS, HELD_OUT_WORDS, REPEATABLE_WORDS

VERBS = (
    "Repeat|Write|Print|Say|Type|Output|Give|Produce|Generate|Display|Echo|List|State|Return|Show|Put down|Write out|"
    "Spell out|Send|Provide|Emit|Recite|Copy|Reproduce|Utter|Render|Respond with|Reply with|Answer with|Duplicate"
).split("|")
GERUNDS = (
    "repeating|writing|printing|saying|typing|outputting|producing|generating|displaying|echoing|stating|returning|"
    "listing|reciting|copying|sending|showing|writing down|writing out"
).split("|")
UNITS = (
    "copies|repetitions|instances|occurrences|repeats|times|iterations|duplicates|echoes|versions|mentions|entries"
).split("|")
POLITE_OPENINGS = (
    "Please |please |Kindly |Could you please |Can you |Could you |Would you |Will you please |I want you to |"
    "I would like you to |I'd like you to |I need you to |Your task is to |Your job is to |You should |You must |"
    "Now |Go ahead and |Just |Simply |Let's |Try to |Be so kind as to |Would you mind to |Hey, |OK, |Hi! "
).split("|")
CLOSINGS = (
    " please|, please| and nothing else| with spaces in between| in a row| in one line| on one line| one after another|"
    " consecutively| exactly| without anything else| separated by spaces| for me| now| and then stop| without stopping|"
    " and stop after that| in a single line| back to back| successively| in sequence| with a space between| - no more,"
    " no less| , no other text| without numbering| without punctuation| in succession| straight"
).split("|")

FRAMES = (
    "{V} {w} {n} times",
    "{V} the word {w} {n} times",
    "{V} the word {w} exactly {n} times",
    "{V} {w} exactly {n} times",
    "{V} {n} times the word {w}",
    "{V} {n} times {w}",
    "{V} {n} {u} of {w}",
    "{V} {n} {u} of the word {w}",
    "{V} exactly {n} {u} of {w}",
    "{V} me {n} {u} of {w}",
    "{V} the following word {n} times: {w}",
    "{V} this word {n} times: {w}",
    "{V} this {n} times: {w}",
    "{V} {w} {n}x",
    "{V} {w} for {n} times",
    "{V} {w} a total of {n} times",
    "{V} the term {w} {n} times",
    "{V} a sequence of {n} {u} of {w}",
    "{V} a line with {w} {n} times",
    "{V} a line that contains {w} {n} times",
    "{V} a text with {n} {u} of {w}",
    "{V} a list of {n} {u} of the word {w}",
    "{V} {w} over and over, {n} times in total",
    "{V} {w} again and again until you have {n}",
    "{V} {w} until it appears {n} times",
    "{V} the same word {n} times. The word is {w}",
    "{V} one word {n} times; the word is {w}",
    "{V} {w} and repeat it until there are {n} of them",
    "{V} {w}. Do it {n} times",
    "{V} {w}. Repeat {n} times",
    "{V} {w}, {n} times",
    "{V} {w}: {n} times",
    "{V} {w} x {n}",
    "{V} {w} × {n}",
    "{V} {w} * {n}",
    "{V} {w} ({n} times)",
    "{V} {w} ({n} {u})",
    "{V} {w} in {n} {u}",
    "{V} the string {w} {n} times",
    "{V} the text {w} {n} times",
)
SPEECH_FRAMES = (
    "I need {n} {u} of {w}",
    "I want {n} {u} of {w}",
    "I want {n} {u} of the word {w}",
    "I would like {n} {u} of {w}",
    "I'd love to see {w} {n} times",
    "I want to see the word {w} {n} times",
    "I want to read {w} {n} times",
    "Give me {n} {u} of {w}",
    "Give me {w} {n} times",
    "Give me {n} {w}",
    "Let me see {w} {n} times",
    "Let me hear {w} {n} times",
    "Show me {n} {u} of {w}",
    "Make it {n} times {w}",
    "Make {n} {u} of {w}",
    "Make a row of {n} {u} of {w}",
    "Create {n} {u} of {w}",
    "Create a text where {w} appears {n} times",
    "Create a string with {w} repeated {n} times",
    "Fill a line with {n} {u} of {w}",
    "Use the word {w} {n} times",
    "{w}, {n} times",
    "{w} {n} times",
    "{w} - {n} times",
    "{w} x {n}",
    "{w} × {n}",
    "{w} * {n}",
    "{w} times {n}",
    "{n} x {w}",
    "{n} × {w}",
    "{n} times {w}",
    "{n} {u} of {w}",
    "{n} {w}",
    "The word {w}, {n} times",
    "The word {w} should appear {n} times",
    "The word {w} must be written {n} times",
    "The word is {w} and the number is {n}",
    "The answer should contain {w} {n} times",
    "The output should be {w} repeated {n} times",
    "The output must have {n} {u} of {w}",
    "Your answer should consist of {n} {u} of {w}",
    "Your answer must be {w} written {n} times",
    "My favourite word is {w}; {v} it {n} times",
    "Here is a word: {w}. {V} it {n} times",
    "Here's the word {w}. {V} it exactly {n} times",
    "Take the word {w} and {v} it {n} times",
    "Take {w} and {v} it {n} times",
    "Consider the word {w}. {V} it {n} times",
    "Given the word {w}, {v} it {n} times",
    "For the word {w}, {v} {n} {u}",
    "Start with {w} and {v} it {n} times",
    "Start {g} {w} and stop after {n} {u}",
    "Keep {g} {w} until you reach {n}",
    "Keep {g} {w} {n} times",
    "Begin {g} {w}, stop at {n}",
    "Try {g} {w} {n} times",
    "Continue {g} {w} until there are {n} {u}",
    "Practise {g} {w} {n} times",
    "Answer by {g} {w} {n} times",
    "Respond by {g} the word {w} {n} times",
    "How about {g} {w} {n} times",
    "What about {n} {u} of {w}",
    "What does {w} look like {n} times",
    "What is {w} repeated {n} times",
    "What do you get when you {v} {w} {n} times",
    "Would you mind {g} {w} {n} times",
    "Do you mind {g} the word {w} {n} times",
    "May I have {n} {u} of {w}",
    "May I ask for {w} {n} times",
    "Can I get {w} {n} times",
    "Can I have {n} {u} of {w}",
    "Is it possible to {v} {w} {n} times",
    "If I ask you for {w} {n} times, what do you {v}",
    "If you can, {v} {w} {n} times",
    "With {n} {u}, {v} the word {w}",
    "Count to {n}, but {v} {w} each time",
    "For each number from 1 to {n}, {v} {w}",
    "Up to {n} and no further: {v} {w}",
    "Imagine a parrot that says {w} {n} times. {V} what it says",
    "A parrot says {w} {n} times. What does it say",
    "The teacher asks you to {v} {w} {n} times",
    "As a test, {v} {w} {n} times",
    "For an experiment, I need {w} {n} times",
    "In one line, {v} {w} {n} times",
    "In your answer, {v} {w} {n} times",
    "Without any other text, {v} {w} {n} times",
    "Using only the word {w}, {v} a text of {n} words",
    "Word: {w}. Count: {n}",
    "Word: {w}\nTimes: {n}",
    "Word = {w}, count = {n}",
    "count: {n}, word: {w}",
    "n={n}; word={w}",
    "Task: repeat. Word: {w}. Number: {n}",
    "Task: {v} {w} {n} times",
    "Output: {w} × {n}",
    "Output: {w} x{n}",
    "Repetition task: {w}, {n} times",
    "Exercise: {v} {w} {n} times",
    "Request: {n} {u} of {w}",
    "Input: {w}\nCount: {n}\nOutput:",
    "repeat({w}, {n})",
    "print({w} * {n})",
    '"{w} " * {n}',
    "say {w} × {n}",
    "[{w}] x [{n}]",
    "It would be great to see {w} {n} times",
    "It would help me if you could {v} {w} {n} times",
    "There should be {n} {u} of {w} in your answer",
    "There must be {w} {n} times in a row",
    "We need {w} {n} times",
    "We want {n} {u} of the word {w}",
    "You are asked to {v} {w} {n} times",
    "You have {n} turns to say {w}. Use all of them",
    "No explanation, only {w} {n} times",
    "Only {w}, {n} times, nothing else",
    "Nothing but {w}, {n} times",
    "One word only: {w}. How often: {n}",
    "How would it look to {v} {w} {n} times",
    "Please, {n} {u} of {w}",
    "Say it with me: {w}, {n} times",
    "Make the word {w} appear {n} times",
    "Have {w} appear {n} times in your reply",
    "Let {w} be written {n} times",
    "Compose a line of {n} {u} of {w}",
    "Construct a sequence in which {w} occurs {n} times",
    "Build a chain of {n} {u} of the word {w}",
    "Multiply the word {w} by {n}",
    "{w} needs to be repeated {n} times",
    "{w} should be printed {n} times",
    "{w} has to appear {n} times",
)
HELD_OUT_FRAMES = (
    "Would it be possible for you to repeat {w} {n} times?",
    "Chant {w} {n} times, then stop.",
    "Hand me a string made of {n} times {w} joined by spaces.",
    "I am asking for precisely {n} appearances of {w}.",
    "Let the reply hold the word {w} exactly {n} times.",
    "My request: {w}, written {n} times.",
    "Please produce an answer in which {w} shows up {n} times.",
    "Repeat after me, {n} times: {w}",
    "Say the following {n} times in a row: {w}.",
    "Type out {w} for a total of {n} repetitions.",
    "We are testing repetition. The word is {w}; repeat it {n} times.",
    "Write {n} words, each of them being {w}.",
    "{n} repetitions of {w}, please.",
    "Could I see {w} printed {n} times in one line?",
    "Fill your reply with {w}, {n} times and no more.",
    "Loop over {w} {n} times and print it each time.",
    "The string should read {w} {n} times over.",
    "Do me a favour and write {w} {n} times.",
    "Your mission is to print the word {w} {n} times.",
    "Without adding anything, echo {w} {n} times.",
)
"""Wordings for evaluation only. Training never uses them, nor any frame equal to one of them."""

QUOTES = ('"{}"', '"{}"', '"{}"', "'{}'", "'{}'", "“{}”", "`{}`", "<{}>", "*{}*", "({})", "[{}]", "‘{}’")
NOISE = (
    "Thank you.|Thanks!|Be exact.|Do not explain.|No extra text.|Use spaces between the words.|Do not number them.|"
    "This is important.|It is a simple task.|Count carefully.|Nothing else.|Do not add punctuation.|I will count them.|"
    "Only the word.|Stop when you are done.|I am waiting.|Do not stop early.|Separate them with spaces."
).split("|")
SYSTEM_TEXTS = (
    "You are a helpful assistant.|You follow instructions exactly.|You are a careful and precise assistant.|"
    "Answer without explanation.|Be brief.|You are a friendly helper."
).split("|")

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
