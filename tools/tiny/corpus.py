"""The endless stream of training texts: which makers, how often, how long, seeded by the step."""

from collections.abc import Callable
from random import Random

from tiny.copying import copying, marks_exercise
from tiny.dialogue import Sample
from tiny.prose import biography, plain_prose, story
from tiny.questions import question
from tiny.repetition import repetition
from tiny.reviews import plain_review, review
from tiny.short_forms import short_form
from tiny.structured import structured

MIXTURE: dict[Callable[[Random], Sample], float] = {
    marks_exercise: 0.09,
    structured: 0.12,
    question: 0.11,
    review: 0.06,
    biography: 0.03,
    story: 0.04,
    short_form: 0.07,
    plain_review: 0.03,
    plain_prose: 0.03,
}
REPETITION_SHARE, COPYING_SHARE = 0.28, 0.18
LATE_REPETITION_SHARE, LATE_COPYING_SHARE, FOCUS_STEP = 0.34, 0.40, 1_750
"""From this step on most texts are counts and copies: prose is learned by then, exactness is not."""
SHORT_STEPS = 300
"""Steps until the longest counts and copies appear. Short ones teach the mechanism, long ones only stretch it."""


def sample_at(seed: int, step: int, place: int) -> Sample:
    """The text at one place of one step's batch. It depends on nothing else, so a resumed run sees the same stream."""
    rng = Random(f"{seed}/{step}/{place}")
    stretch = min(1.0, (step + 1) / SHORT_STEPS)
    draw = rng.random()
    repetitions, copies = (
        (REPETITION_SHARE, COPYING_SHARE) if step < FOCUS_STEP else (LATE_REPETITION_SHARE, LATE_COPYING_SHARE)
    )
    if draw < repetitions:
        return repetition(rng, longest=round(8 + 52 * stretch))
    if draw < repetitions + copies:
        return copying(rng, longest=round(30 + 170 * stretch))
    return rng.choices(tuple(MIXTURE), tuple(MIXTURE.values()))[0](rng)


def batch_at(seed: int, step: int, size: int) -> list[Sample]:
    """All texts of one step."""
    return [sample_at(seed, step, place) for place in range(size)]
