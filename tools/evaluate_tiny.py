"""Measure the embedded model on held-out wordings, words and sentences; print a table and write all figures as JSON.

    python tools/evaluate_tiny.py [--model FOLDER] [--json FILE] [--card]

The shipped bf16 weights are loaded as float32 and run by plain transformers, in left-padded batches,
greedy unless said.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from tiny.card import write_card
from tiny.corpus import (
    COPYING_SHARE,
    FOCUS_STEP,
    LATE_COPYING_SHARE,
    LATE_REPETITION_SHARE,
    REPETITION_SHARE,
)
from tiny.evaluation import evaluate
from tiny.rendering import DATED_SHARE
from tiny.wordings import HELD_OUT_FRAMES
from tiny.words import HELD_OUT_WORDS

REPOSITORY = Path(__file__).resolve().parents[1]


def rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures as (what, value) lines."""
    counting, wordings = figures["counting_held_out"], figures["counting_held_out_wordings"]
    grid, repeat = figures["same_prompt"], figures["repeat_held_out"]
    table = [
        ("parameters", f"{figures['parameters']:,}"),
        (f"exact count, held-out wordings and words, N ≤ 50 ({counting['runs']} runs)", f"{counting['exact']:.1%}"),
        (
            f"exact count, held-out wordings, the demo's words, N 5–49 ({wordings['runs']} runs)",
            f"{wordings['exact']:.1%}",
        ),
        (f"same_prompt grid, exact ({grid['runs']} runs)", f"{grid['exact']:.1%}"),
        ("same_prompt grid, ended within 200 tokens", f"{grid['ended']:.1%}"),
        (f"exact repeat, held-out sentences ≤ 60 tokens ({repeat['runs']} runs)", f"{repeat['exact']:.1%}"),
        (
            f"exact repeat, odd texts ≤ {figures['repeat_long']['longest']} tokens",
            f"{figures['repeat_long']['exact']:.1%}",
        ),
    ]
    for family, ended in figures["endings"].items():
        exact = f", exact {ended['exact']:.1%}" if "exact" in ended else ""
        value = f"{ended['greedy']:.1%} / {ended['sampled']:.1%}, mean {ended['mean_tokens']} tokens{exact}"
        table.append((f"ended by itself, greedy / temperature 1: {family}", value))
    tones = figures["review_tones"]
    table.append(
        (
            "reviews of one prompt: distinct / kind / unkind",
            f"{tones['distinct']:.1%} / {tones['kind']:.1%} / {tones['unkind']:.1%}",
        )
    )
    return table


def main() -> None:
    """Evaluate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=REPOSITORY / "src" / "latentext" / "models" / "tiny")
    parser.add_argument("--json", type=Path, default=REPOSITORY / "build" / "tiny" / "evaluation.json")
    parser.add_argument("--card", action="store_true", help="also write the model card into the model's folder")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    figures = evaluate(arguments.model)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    table = rows(figures)
    width = max(len(what) for what, _ in table)
    for what, value in table:
        print(f"{what.ljust(width)}  {value}")
    if arguments.card:
        held_out = {"held_out_words": len(HELD_OUT_WORDS), "held_out_wordings": len(HELD_OUT_FRAMES)}
        shares = {
            "repetition": REPETITION_SHARE,
            "late_repetition": LATE_REPETITION_SHARE,
            "copying": COPYING_SHARE,
            "late_copying": LATE_COPYING_SHARE,
            "focus": FOCUS_STEP,
            "dated": DATED_SHARE,
        }
        write_card(arguments.model, table, held_out, shares)


if __name__ == "__main__":
    main()
