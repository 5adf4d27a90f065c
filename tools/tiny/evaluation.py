"""Measure a model folder with plain transformers: batched, left-padded, weights as shipped, loaded as float32.

Nothing of latentext is used, so that the figures stand on their own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tiny import held_out
from tiny.copying import HELD_OUT_SYSTEM_TEXTS, marks_exercise, text_to_copy
from tiny.dialogue import Exchange, Sample
from tiny.prose import biography, plain_prose, story
from tiny.questions import question
from tiny.rendering import render_prompt
from tiny.repetition import held_out_repetition, quoted, repetition
from tiny.reviews import BAD, GOOD, plain_review, review
from tiny.sentences import paragraph
from tiny.short_forms import dialogue, paraphrase, summary
from tiny.structured import structured
from tiny.tokenizer import BOS
from tiny.wordings import HELD_OUT_FRAMES
from tiny.words import DEMO_WORDS

EVALUATION_SEED = "evaluation"
"""Training seeds are integers: no evaluation text comes from a stream that a training run used."""
SAME_PROMPT = 'Print exactly {count} repetitions of "{word}".'


@dataclass(frozen=True, slots=True)
class Completion:
    """A generated text without its end token, and whether it had one."""

    text: str
    ended: bool
    tokens: int


class Subject:
    """The model under evaluation and how it is asked."""

    def __init__(self, folder: Path, batch_size: int = 150) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.batch_size = batch_size

    @torch.inference_mode()
    def complete(self, prompts: list[str], max_new_tokens: int, sample: bool = False) -> list[Completion]:
        """Greedy, or plain sampling at temperature 1 (no top-k). Results come in the order of the prompts."""
        lengths = [len(self.tokenizer(prompt, add_special_tokens=False).input_ids) for prompt in prompts]
        order = sorted(range(len(prompts)), key=lengths.__getitem__)
        options: dict[str, Any] = {"do_sample": sample, "max_new_tokens": max_new_tokens}
        if sample:
            options |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
        completions: dict[int, Completion] = {}
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            batch = self.tokenizer(
                [prompts[i] for i in chosen], add_special_tokens=False, padding=True, return_tensors="pt"
            )
            generated = self.model.generate(**batch, **options)[:, batch.input_ids.shape[1] :]
            for place, row in zip(chosen, generated.tolist(), strict=True):
                completions[place] = self._cut(row)
        return [completions[place] for place in range(len(prompts))]

    def _cut(self, row: list[int]) -> Completion:
        ends = [place for place, token in enumerate(row) if token in self.model.generation_config.eos_token_id]
        kept = row[: ends[0]] if ends else row
        return Completion(self.tokenizer.decode(kept, skip_special_tokens=False), bool(ends), len(kept) + bool(ends))


def prompt_of(sample: Sample) -> str:
    """What the model gets: the chat prompt without date lines, or the first words of a plain text."""
    if isinstance(sample, Exchange):
        return render_prompt(sample, None)
    return BOS + " ".join(sample.text.split()[:4])


def user_prompt(user: str, system: str = "") -> str:
    """A chat prompt for one user turn."""
    return render_prompt(Exchange("", user, "", system), None)


def share(hits: list[bool]) -> float:
    """The share of hits, to four decimals."""
    return round(sum(hits) / len(hits), 4)


def counting(subject: Subject, cases: list[tuple[str, str, int]], max_new_tokens: int) -> dict[str, Any]:
    """Exact answers among (prompt, word, count): the word ``count`` times with single spaces, then the end token."""
    completions = subject.complete([user_prompt(prompt) for prompt, _, _ in cases], max_new_tokens)
    exact, errors = [], []
    for (_, word, count), completion in zip(cases, completions, strict=True):
        exact.append(completion.ended and completion.text == " ".join([word] * count))
        found = completion.text.split()
        if completion.ended and set(found) == {word} and len(found) != count:
            errors.append(len(found) - count)
    outcomes = zip(cases, completions, exact, strict=True)
    return {
        "runs": len(cases),
        "exact": share(exact),
        "ended": share([completion.ended for completion in completions]),
        "count_errors": sorted(errors),
        "misses": [(case[0], done.text[:80]) for case, done, hit in outcomes if not hit][:12],
    }


def held_out_counting(subject: Subject, runs: int = 100) -> dict[str, Any]:
    """Held-out wordings and held-out words, counts 1–50."""
    rng = Random(f"{EVALUATION_SEED}/counting")
    return counting(subject, [held_out_repetition(rng) for _ in range(runs)], 200)


def held_out_wordings(subject: Subject, runs: int = 100) -> dict[str, Any]:
    """Held-out wordings with the demo's ten words, counts 5–49: what a user's own wordings meet."""
    rng = Random(f"{EVALUATION_SEED}/wordings")
    cases = []
    for _ in range(runs):
        word, count = rng.choice(DEMO_WORDS), rng.randint(5, 49)
        cases.append((rng.choice(HELD_OUT_FRAMES).format(w=quoted(rng, word), n=count), word, count))
    return counting(subject, cases, 200)


def same_prompt_grid(subject: Subject) -> dict[str, Any]:
    """The demo's 450 prompts: one wording, counts 5–49, ten words, 200 new tokens."""
    cases = [(SAME_PROMPT.format(count=n, word=word), word, n) for n in range(5, 50) for word in DEMO_WORDS]
    return counting(subject, cases, 200)


def repeating(subject: Subject, texts: list[str], seed: str) -> dict[str, Any]:
    """Exact repeats of texts under held-out system texts."""
    rng = Random(f"{EVALUATION_SEED}/{seed}")
    longest = max(len(subject.tokenizer(text).input_ids) for text in texts)
    completions = subject.complete(
        [user_prompt(text, rng.choice(HELD_OUT_SYSTEM_TEXTS)) for text in texts], longest + 20
    )
    exact = [completion.ended and completion.text == text for completion, text in zip(completions, texts, strict=True)]
    misses = [
        (text, completion.text) for text, completion, hit in zip(texts, completions, exact, strict=True) if not hit
    ]
    return {"runs": len(texts), "longest": longest, "exact": share(exact), "misses": misses[:8]}


def held_out_repeating(subject: Subject, runs: int = 100) -> dict[str, Any]:
    """Fifty sentences written by hand and as many from the grammar under an unused seed, each of at most 60 tokens."""
    rng = Random(f"{EVALUATION_SEED}/sentences")
    texts = list(held_out.SENTENCES)
    while len(texts) < runs:
        text = paragraph(rng, rng.randint(1, 4))
        if len(subject.tokenizer(text).input_ids) <= 60:
            texts.append(text)
    return repeating(subject, texts[:runs], "system texts")


def long_repeating(subject: Subject, runs: int = 50) -> dict[str, Any]:
    """Odd texts of every kind that training copies, up to about 200 tokens, from an unused seed."""
    rng = Random(f"{EVALUATION_SEED}/long")
    return repeating(subject, [text_to_copy(rng, 200).strip() for _ in range(runs)], "long system texts")


def _open_question(rng: Random) -> Sample:
    return Exchange("held-out open question", rng.choice(held_out.OPEN_QUESTIONS), "")


FAMILIES: dict[str, Callable[[Random], Sample]] = {
    "repetition": repetition,
    "marks": marks_exercise,
    "structured": structured,
    "question": question,
    "held-out open question": _open_question,
    "review": review,
    "biography": biography,
    "story": story,
    "summary": summary,
    "paraphrase": paraphrase,
    "dialogue": dialogue,
    "plain review": plain_review,
    "plain prose": plain_prose,
}


def endings(subject: Subject, runs: int = 40, max_new_tokens: int = 300) -> dict[str, Any]:
    """For every family: the share of texts that end by themselves, greedy and at temperature 1, and their lengths."""
    table: dict[str, Any] = {}
    for name, maker in FAMILIES.items():
        rng = Random(f"{EVALUATION_SEED}/{name}")
        samples = [maker(rng) for _ in range(runs)]
        prompts = [prompt_of(sample) for sample in samples]
        greedy = subject.complete(prompts, max_new_tokens)
        torch.manual_seed(0)
        sampled = subject.complete(prompts, max_new_tokens, sample=True)
        table[name] = {
            "greedy": share([completion.ended for completion in greedy]),
            "sampled": share([completion.ended for completion in sampled]),
            "mean_tokens": round(sum(completion.tokens for completion in sampled) / runs, 1),
        }
        if name == "structured":
            pairs = zip(samples, greedy, strict=True)
            fixed = [(sample, done) for sample, done in pairs if sample.family not in ("list", "table")]
            table[name]["exact"] = share([done.text == sample.answer for sample, done in fixed])
    return table


def review_tones(subject: Subject, samples: int = 64) -> dict[str, Any]:
    """One neutral prompt, many samples: how many are distinct, kind, unkind (by the grammar's own word lists)."""
    torch.manual_seed(0)
    completions = subject.complete([user_prompt("Write a review of the new restaurant.")] * samples, 300, sample=True)
    tones = []
    for completion in completions:
        found = completion.text.lower().replace(".", " ").replace(",", " ").replace("!", " ").split()
        tones.append(sum(word in GOOD for word in found) - sum(word in BAD for word in found))
    return {
        "samples": samples,
        "distinct": share([completions.count(completion) == 1 for completion in completions]),
        "kind": share([tone > 0 for tone in tones]),
        "unkind": share([tone < 0 for tone in tones]),
    }


def evaluate(folder: Path) -> dict[str, Any]:
    """Every measurement on one model folder."""
    subject = Subject(folder)
    return {
        "parameters": sum(parameter.numel() for parameter in subject.model.parameters()),
        "counting_held_out": held_out_counting(subject),
        "counting_held_out_wordings": held_out_wordings(subject),
        "same_prompt": same_prompt_grid(subject),
        "repeat_held_out": held_out_repeating(subject),
        "repeat_long": long_repeating(subject),
        "endings": endings(subject),
        "review_tones": review_tones(subject),
    }
