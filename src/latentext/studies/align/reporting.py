"""The report of a λ on a bank: all pictures and examples of texts with their weights, as one page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from latentext.report.making import Report
from latentext.report.page import render_page
from latentext.report.picture import BLUE, GREY, Picture, Skipped, Subject, canvas, label
from latentext.report.writing import report_folder, write_report
from latentext.studies.align import Solution, describe, diagnose, tilt
from latentext.studies.align.bank import Floats
from latentext.studies.align.pictures import (
    effective_sample_size,
    frontier,
    levels_against_targets,
    radar,
    rewards_before_and_after,
)
from latentext.studies.align.text_bank import TextBank
from latentext.studies.align.text_rows import chosen_texts

FOLDER = "align"
EXAMPLES = Subject("examples", "Texts with their weights")

_PROMPTS, _HEAVIEST = 4, 3
_LONGEST = 400


def make_report(
    bank: TextBank,
    lam: ArrayLike,
    output: Path | None = None,
    *,
    solution: Solution | None = None,
    seed: int = 0,
) -> Report:
    """Write ``index.html`` and a PNG file for each picture.

    Args:
        lam: λ, one number a value of the bank.
        output: a folder; ``align`` in the dataset's directory when left out.
        solution: of the targets that λ was solved for, to be shown beside the levels.
        seed: decides which prompts are shown.

    Raises:
        SpecError: λ does not fit the bank.
        DatasetError: a file of the dataset is damaged, or the report cannot be written.
    """
    views = bank.dataset.directory / FOLDER
    folder = output or views
    report_folder(folder, views=views)
    drawn: list[Picture | Skipped] = [
        rewards_before_and_after(bank.bank, lam),
        levels_against_targets(bank.bank, lam, solution),
        effective_sample_size(bank.bank, lam),
        frontier(bank.bank, lam),
        radar(bank.bank, lam),
        examples(bank, lam, seed=seed),
    ]
    pictures = [picture for picture in drawn if isinstance(picture, Picture)]
    skipped = [picture for picture in drawn if isinstance(picture, Skipped)]
    title = f"{bank.dataset.spec.name}: value-aligned sampling"
    page = render_page(title, bank.dataset.spec.description, facts(bank, lam), pictures, skipped)
    return Report(write_report(folder, page, pictures, views=views), pictures, skipped)


def facts(bank: TextBank, lam: ArrayLike) -> dict[str, str]:
    """What the top of the page says."""
    found = diagnose(bank.bank, lam)
    palette = ", ".join(f"{name} {value:.4g}" for name, value in zip(found.names, found.lam, strict=True) if value)
    lines = {
        "model": bank.dataset.model_label,
        "bank": f"{_used(bank)} prompts × {bank.bank.samples} samples",
        "λ": palette or "0 for every value: the base model",
        "reliability": describe(found)[len(found.names) + 1],
    }
    warnings = [*found.warnings, *bank.warnings]
    return lines | ({"warnings": "; ".join(warnings)} if warnings else {})


def _used(bank: TextBank) -> str:
    used = f"{bank.bank.prompts:,}"
    return f"{used} of {bank.planned:,}" if bank.left_out else used


def examples(bank: TextBank, lam: ArrayLike, *, seed: int = 0) -> Picture | Skipped:
    """A few prompts with their samples' weights, and the texts of the heaviest and of the lightest."""
    weights = tilt(bank.bank, lam).weights
    number = min(_PROMPTS, bank.bank.prompts)
    places = np.sort(np.random.default_rng(seed).choice(bank.bank.prompts, number, replace=False))
    with canvas(number, width=9.0, height=2.8) as (figure, panels):
        for panel, place in zip(panels, places, strict=True):
            panel.bar(np.arange(bank.bank.samples), np.sort(weights[place])[::-1], color=BLUE)
            panel.axhline(1 / bank.bank.samples, color=GREY, linewidth=1)
            panel.set_title(f"prompt {bank.indices[place]}")
            label(panel, "samples, heaviest first", "weight" if panel is panels[0] else "")
        caption = f"Weights of {number} prompts drawn by seed {seed}; the line is 1/{bank.bank.samples}, as without λ."
        return EXAMPLES.drawn(figure, caption, _shown_texts(bank, weights, places.tolist()))


def _shown_texts(bank: TextBank, weights: Floats, places: list[int]) -> dict[str, str]:
    order = np.argsort(-weights, axis=1, kind="stable")
    shown = np.concatenate([order[:, :_HEAVIEST], order[:, -1:]], axis=1)
    texts = chosen_texts(bank, shown)
    lines = {}
    for place in places:
        index = bank.indices[place]
        lines[f"prompt {index}"] = _short(texts[place * shown.shape[1]]["prompt"])
        for number, sample in enumerate(shown[place].tolist()):
            row = texts[place * shown.shape[1] + number]
            rewards = zip(bank.bank.names, bank.bank.rewards[place, sample].tolist(), strict=True)
            named = ", ".join(f"{name} {value:.3g}" for name, value in rewards)
            title = f"prompt {index}, sample {sample}: weight {weights[place, sample]:.3f}; {named}"
            lines[title] = _short(row["generated"].removeprefix(row["prompt"]))
    return lines


def _short(text: str) -> str:
    plain = " ".join(text.split()) or "(no text)"
    return plain if len(plain) <= _LONGEST else plain[:_LONGEST] + "…"
