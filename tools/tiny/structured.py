"""Answers whose length follows from the request: lists, alphabets, counting up and down, small tables."""

import string
from random import Random

from tiny.dialogue import Exchange
from tiny.words import CATEGORIES, NOUNS

OPENINGS = ("", "", "Please ", "Can you ", "Could you ", "Kindly ", "I want you to ", "Now ")


def _request(rng: Random, text: str) -> str:
    """The imperative behind one of several openings, with a fitting end mark."""
    opening = rng.choice(OPENINGS)
    body = text if opening else text[0].upper() + text[1:]
    mark = "?" if opening.startswith(("Can", "Could")) else rng.choice((".", ".", ""))
    return f"{opening}{body}{mark}"


def listing(rng: Random) -> Exchange:
    """N different members of a category, with commas, on lines, or numbered."""
    category = rng.choice(sorted(CATEGORIES))
    members = CATEGORIES[category]
    count = rng.randint(2, min(12, len(members)))
    items = rng.sample(members, count)
    style, answer = rng.choice((
        ("", ", ".join(items)),
        (", one a line", "\n".join(items)),
        (" separated by commas", ", ".join(items)),
        (" as a numbered list", "\n".join(f"{place}. {item}" for place, item in enumerate(items, 1))),
        (" as bullet points", "\n".join(f"- {item}" for item in items)),
    ))  # fmt: skip
    verb = rng.choice(("list", "name", "give me", "write", "write down", "tell me", "make a list of", "think of"))
    return Exchange("list", _request(rng, f"{verb} {count} {category}{style}"), answer)


def alphabet(rng: Random) -> Exchange:
    """The letters from one to another, forwards or (seldom) backwards."""
    letters = string.ascii_lowercase if rng.random() < 0.5 else string.ascii_uppercase
    first, last = sorted(rng.sample(range(26), 2))
    if rng.random() < 0.25:
        first, last = 0, 25
    run = letters[first : last + 1]
    separator, manner = rng.choice(
        ((" ", ""), (", ", " with commas"), (" ", " separated by spaces"), ("\n", ", one a line"))
    )
    whole = rng.choice(("write the alphabet", "say the alphabet", "list the letters of the alphabet"))
    part = rng.choice((
        f"write the letters from {run[0]} to {run[-1]}", f"list the letters {run[0]} to {run[-1]}",
        f"give me the alphabet from {run[0]} to {run[-1]}", f"say the letters from {run[0]} to {run[-1]}",
    ))  # fmt: skip
    if len(run) == 26 and rng.random() < 0.8:
        return Exchange("alphabet", _request(rng, f"{whole}{manner}"), separator.join(string.ascii_lowercase))
    if rng.random() < 0.15:
        return Exchange("alphabet", _request(rng, f"{part} backwards{manner}"), separator.join(reversed(run)))
    return Exchange("alphabet", _request(rng, part + manner), separator.join(run))


def counting(rng: Random) -> Exchange:
    """Counting up from 1 or another number, sometimes in steps."""
    start = 1 if rng.random() < 0.6 else rng.randint(0, 50)
    step = rng.choice((1, 1, 1, 1, 2, 5, 10))
    stop = start + step * rng.randint(2, 40 if step == 1 else 12)
    numbers = range(start, min(stop, 100) + 1, step)
    separator, manner = rng.choice(
        ((" ", ""), (", ", " with commas"), ("\n", ", one number a line"), (" ", " separated by spaces"))
    )
    steps = "" if step == 1 else f" in steps of {step}"
    verb = rng.choice(
        ("count", "count up", "list the numbers", "write the numbers", "say the numbers", "write all numbers")
    )
    return Exchange(
        "counting",
        _request(rng, f"{verb} from {start} to {numbers[-1]}{steps}{manner}"),
        separator.join(map(str, numbers)),
    )


def countdown(rng: Random) -> Exchange:
    """From N down to 1 or 0, sometimes with a word for the launch."""
    start, end = rng.randint(3, 50), rng.choice((1, 1, 0))
    separator, manner = rng.choice(
        ((" ", ""), (", ", " with commas"), ("\n", ", one number a line"), ("... ", " with dots"))
    )
    numbers = list(map(str, range(start, end - 1, -1)))
    if rng.random() < 0.15:
        return Exchange(
            "countdown", f"Make a rocket countdown from {start} to {end}.", separator.join([*numbers, "go!"])
        )
    verb = rng.choice(("count down", "count backwards", "make a countdown", "do a countdown", "write a countdown"))
    return Exchange("countdown", _request(rng, f"{verb} from {start} to {end}{manner}"), separator.join(numbers))


def table(rng: Random) -> Exchange:
    """Rows × columns of numbers, words or one sign, cells between bars."""
    rows, columns = rng.randint(1, 8), rng.randint(1, 6)
    filling = rng.choice(("numbers", "words", "sign"))
    if filling == "numbers":
        cells = [str(rng.randint(0, 99)) for _ in range(rows * columns)]
        what = "of numbers"
    elif filling == "words":
        cells = [rng.choice(NOUNS) for _ in range(rows * columns)]
        what = "of words"
    else:
        cells = [rng.choice(("x", "o", "0", "1"))] * (rows * columns)
        what = f"filled with {cells[0]}"
    lines = [" | ".join(cells[row * columns : (row + 1) * columns]) for row in range(rows)]
    shape = rng.choice((
        f"{rows} rows and {columns} columns", f"{rows} rows × {columns} columns", f"{rows} lines and {columns} columns"
    ))  # fmt: skip
    verb = rng.choice(("make", "write", "draw", "create", "print", "give me"))
    form = rng.choice((f"{verb} a table {what} with {shape}", f"{verb} a table with {shape} {what}"))
    return Exchange("table", _request(rng, form), "\n".join(lines))


MAKERS = (listing, alphabet, counting, countdown, table)


def structured(rng: Random) -> Exchange:
    """One of the kinds above, each as often."""
    return rng.choice(MAKERS)(rng)
