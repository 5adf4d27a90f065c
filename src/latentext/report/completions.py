"""Completions beside human texts: lengths, vocabulary, and the texts themselves, by corpus, model and temperature.

A row of a table is a group of texts: those of people of one corpus, or those of a model at a prompt and a temperature.
Texts of one dataset are held at a time, and of people those of the corpora.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from latentext.dataset.completions import completion_rows, is_completion
from latentext.dataset.reader import Dataset
from latentext.finish_reasons import is_whole
from latentext.report.completion_statistics import TextStatistics, describe_texts
from latentext.report.page import Table
from latentext.report.picture import BLUE, GREY, ORANGE, Picture, Subject, canvas, label
from latentext.word_count import count_words

LENGTHS = Subject("completion_lengths", "Lengths, people and models")

HUMAN = "people"
_SHOWN_SOURCES = 8
_SHOWN_CHARACTERS = 700


@dataclass
class Group:
    """Texts that are compared as one: of `who`, on a corpus, at a prompt and a temperature."""

    corpus: str
    who: str
    prompt: int | None = None
    temperature: float | None = None
    statistics: TextStatistics | None = None
    limits: tuple[int, int] | None = None
    accepted: int | None = None

    @property
    def name(self) -> str:
        if self.temperature is None:
            return self.who
        return f"{self.who}, prompt {self.prompt}, temperature {self.temperature:g}"


@dataclass
class _Collected:
    """What one pass over the datasets gathers."""

    groups: list[Group] = field(default_factory=list)
    human: dict[str, dict[str, str]] = field(default_factory=dict)
    sources: dict[tuple[str, str], str] = field(default_factory=dict)
    shown: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)


def completion_sections(datasets: Sequence[Dataset]) -> tuple[list[Table], list[Picture]]:
    """The tables and pictures of datasets of completions, corpus by corpus.

    Raises:
        SpecError: spaCy is not installed.
        DatasetError: a file is damaged.
    """
    found = _collect(datasets)
    groups = [group for corpus in found.human for group in _of_corpus(found, corpus)]
    tables = [_numbers(groups), *_side_by_side(found)]
    pictures = [picture for corpus in found.human if (picture := _lengths(found, corpus)) is not None]
    return tables, pictures


def _collect(datasets: Sequence[Dataset]) -> _Collected:
    found = _Collected()
    for dataset in datasets:
        texts: dict[float, list[dict[str, Any]]] = {}
        corpus = ""
        for row in completion_rows(dataset):
            corpus = str(row["corpus"])
            if row["human"] is not None:
                found.human.setdefault(corpus, {})[str(row["id"])] = str(row["human"])
            if is_completion(dataset, row):
                texts.setdefault(row["temperature"], []).append(row)
                _show(found, corpus, row)
        found.groups += [_group(dataset, corpus, temperature, rows) for temperature, rows in sorted(texts.items())]
    return found


def _group(dataset: Dataset, corpus: str, temperature: float, rows: list[dict[str, Any]]) -> Group:
    texts = [row["completion"] for row in rows]
    words = [row["words"] for row in rows] if all(row["words"] is not None for row in rows) else count_words(texts)
    length = dataset.spec.length
    limits = None if length is None or length.min is None or length.max is None else (length.min, length.max)
    statistics = describe_texts(texts, words, [not is_whole(row["finish_reason"]) for row in rows])
    # The verdicts count a text that was cut as not legal, whatever number of words it has.
    verdicts = [row["accepted"] for row in rows]
    accepted = None if None in verdicts else sum(verdicts)
    return Group(corpus, rows[0]["model"], rows[0]["prompt"], temperature, statistics, limits, accepted)


def _of_corpus(found: _Collected, corpus: str) -> Iterator[Group]:
    texts = list(found.human[corpus].values())
    yield Group(corpus, HUMAN, statistics=describe_texts(texts, count_words(texts)))
    yield from (group for group in found.groups if group.corpus == corpus)


def _numbers(groups: Sequence[Group]) -> Table:
    columns = (
        "corpus", "texts of", "prompt", "temperature", "texts", "words: median (5 % to 95 %)", "legal length",
        "cut at the limit", "different words", "type-token ratio", "repeated 3-grams", "boilerplate", "refusals",
    )  # fmt: skip
    caption = (
        "Words are spaCy-blank tokens. The type-token ratio is the share of different words in every 100 words that "
        "follow each other; 3-grams are repeated within a text; boilerplate begins like “Sure, here is”; refusals are "
        "found by their first words. Both lists of phrases are English and short: read the texts too."
    )
    return Table("completions", "People and models in numbers", caption, columns, list(map(_row, groups)))


def _row(group: Group) -> list[str]:
    s = group.statistics
    assert s is not None
    low, middle, high = (round(float(q)) for q in np.percentile(s.words, (5, 50, 95))) if s.words else (0, 0, 0)
    limits = group.limits
    within = group.accepted
    if within is None and limits is not None:
        within = sum(limits[0] <= n <= limits[1] for n in s.words)
    legal = "" if limits is None or within is None else _share(within / max(1, s.texts))
    of_model = group.temperature is not None
    return [
        group.corpus,
        group.who,
        "" if group.prompt is None else str(group.prompt),
        f"{group.temperature:g}" if of_model else "",
        f"{s.texts:,}",
        f"{middle} ({low} to {high})",
        legal,
        _share(s.cut) if of_model else "",
        f"{s.types:,}",
        "" if math.isnan(s.type_token_ratio) else f"{s.type_token_ratio:.2f}",
        _share(s.repeated_ngrams),
        _share(s.boilerplate),
        _share(s.refusals),
    ]


def _share(share: float) -> str:
    return f"{share:.1%}"


def _lengths(found: _Collected, corpus: str) -> Picture | None:
    """Boxes of the lengths of each group, people first, with the legal lengths between lines."""
    groups = [group for group in _of_corpus(found, corpus) if group.statistics is not None and group.statistics.texts]
    if len(groups) < 2:
        return None
    with canvas(1, width=8.0, height=1.2 + 0.38 * len(groups)) as (figure, (panel,)):
        _boxes(panel, groups)
        label(panel, "words (spaCy-blank tokens)", "")
        panel.set_title(f"{corpus}: n = {sum(g.statistics.texts for g in groups if g.statistics):,} texts")
        limits = next((group.limits for group in groups if group.limits is not None), None)
        for limit in limits or ():
            panel.axvline(limit, color=ORANGE, linestyle="--", linewidth=1)
        bounds = "" if limits is None else f" Dashed lines are the legal lengths, {limits[0]} and {limits[1]}."
        caption = f"Boxes hold the middle half, whiskers 5 % to 95 %, lines are medians.{bounds}"
        numbers = {
            group.name: f"mean {np.mean(group.statistics.words):.1f} words" for group in groups if group.statistics
        }
        return Subject(f"{LENGTHS.name}_{corpus}", f"{LENGTHS.title}: {corpus}").drawn(figure, caption, numbers)


def _boxes(panel: Axes, groups: Sequence[Group]) -> None:
    drawn = panel.boxplot(
        [group.statistics.words for group in groups if group.statistics],
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        tick_labels=[group.name for group in groups],
        medianprops={"color": "black"},
    )
    for box, group in zip(drawn["boxes"], groups, strict=True):
        box.set_facecolor(GREY if group.who == HUMAN else BLUE)
        box.set_alpha(0.6)
    panel.invert_yaxis()


def _show(found: _Collected, corpus: str, row: dict[str, Any]) -> None:
    """Keep the texts of the first sources of each corpus, to be set beside each other."""
    place = (corpus, str(row["id"]))
    if place not in found.sources:
        if sum(name == corpus for name, _ in found.sources) >= _SHOWN_SOURCES:
            return
        found.sources[place] = str(row["source"])
    who = Group(corpus, row["model"], row["prompt"], row["temperature"]).name
    ending = "" if is_whole(row["finish_reason"]) else " [cut]"
    found.shown.setdefault(place, []).append((who, row["completion"] + ending))


def _side_by_side(found: _Collected) -> Iterator[Table]:
    for corpus in found.human:
        rows = []
        for (owner, name), source in found.sources.items():
            if owner != corpus:
                continue
            texts = [(HUMAN, found.human[corpus].get(name, "")), *found.shown.get((owner, name), [])]
            rows += [
                [_short(source) if number == 0 else "", who, _short(text)] for number, (who, text) in enumerate(texts)
            ]
        title = f"Side by side: {corpus}"
        yield Table(
            f"texts_{corpus}", title, "The first sources, as they come.", ("source", "by", "text"), rows, wide=True
        )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + " …"
