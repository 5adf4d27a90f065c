"""The model card: prose that stays, figures that come from the training record and the evaluation."""

import json
from pathlib import Path
from typing import Any

CARD = """\
---
license: apache-2.0
library_name: transformers
language: en
pipeline_tag: text-generation
---

# tiny

The embedded model of latentext: a `LlamaForCausalLM` with {parameters:,} parameters, small enough to ship with the
package and to run a real dataset on a laptop's CPU in minutes. It repeats words a given number of times, repeats
texts, makes lists, counts, and writes short reviews, biographies, stories and answers that end by themselves. It
knows nothing about the world: what it writes is grammar, not information.

## Architecture

{layers} layers, width {width}, {heads} heads of {head_dim}, feed-forward width {feed_forward}, tied embeddings, rotary
positions (base {rope_theta:.0f}), context {context}; trained on texts of at most {longest} tokens. Own byte-level BPE
of {vocabulary:,} entries: numbers 0–100 and the words of the training lists are one token each, with or without a
leading space. Special tokens in Llama-3 style; the tokenizer adds `<|begin_of_text|>`; a generation ends with
`<|eot_id|>` (chat) or `<|end_of_text|>` (plain text). The chat template prints a system block with a knowledge cut-off
and today's date; {dated:.0%} of the training prompts kept these two lines, the others dropped them as latentext does.

## Data

All text is made by `tools/tiny/` in this repository from its own grammar and word lists; nothing was downloaded.
By share of texts, up to step {focus:,} and after it: {repetition:.0%} / {late_repetition:.0%} "repeat WORD N times" (N
1–60, thousands of wordings), {copying:.0%} / {late_copying:.0%} "repeat this text" under a system text (1–200 tokens),
the rest lists, alphabets, counting, countdowns, tables, questions, reviews (kind or unkind for the same request),
biographies of invented people, stories, summaries, paraphrases, dialogue lines, exercises with quotation marks, and
plain prose without a template. {held_out_words} words and {held_out_wordings} wordings are held out of the counting
task; the words do occur in other tasks.

## Training

`tools/train_tiny.py --hours {hours} --seed {seed}` on two CPU cores shared with other work: {step:,} steps of
{texts_per_step} texts, {tokens:,} tokens, {minutes:.0f} minutes. Muon for matrices, AdamW for embeddings and norms,
learning rate decayed linearly to zero over the time budget; loss on answers only, weighted towards the stop decision
in the counting task. The initial weights hold the outline of a copying circuit in three heads
(`tools/tiny/initialisation.py`), so this model's first two layers are no evidence of how such circuits emerge. The
shipped weights come from one run, resumed from its checkpoint, in which choices were made on the way: from step
811 the first two tokens of a counting answer weigh more (4 for 0.5) and the exercises with quotation marks are more
frequent (9 for 5 parts), from step 1,750 copies and counts are more frequent and more of the copied words are
invented; the time budget was extended twice, from 1.02 hours. The code in the repository holds the later choices.
Another run gives other weights of the same kind: the texts of a step are seeded, the number of steps depends on the
machine.

## Measured

By `tools/evaluate_tiny.py` with plain transformers on these bf16 weights loaded as float32, greedy unless said.
The wording of `same_prompt` and the demo's ten words are among those that training draws; "held out" means never drawn.

| what | result |
|---|---|
{table}

## Limits

* English only, and only the kinds of text named above; open questions get a short answer in the right form, not a true
  one.
* Counts beyond 60 were never trained. Words that the tokenizer cuts into several tokens are counted less well than
  the one-token words that the figures above are about.
* Exact copying is its weak point, as the table shows: where a word or a piece of a word occurs twice, the copy may go
  on after the wrong one, and text that the tokenizer cuts into many pieces suffers most. Texts of other scripts and of
  more than about 200 tokens fare worse still. Positions beyond {longest} tokens were never trained.
* Greedy decoding of open-ended prose may fall into a loop (the table's low shares); sampled texts end.
* Requests whose wording is far from the training grammar can be misread: another word of the request is repeated.
* Sampled prose is grammatical for a sentence at a time; it has no plan beyond that.

Licence: Apache-2.0, like the package.
"""


def write_card(folder: Path, table: list[tuple[str, str]], held_out: dict[str, int], shares: dict[str, float]) -> None:
    """Write ``README.md`` into the model folder from its own configuration, training record and measured table."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    record: dict[str, Any] = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    settings, progress = record["settings"], record["progress"]
    text = CARD.format(
        parameters=record["parameters"],
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        head_dim=config["head_dim"],
        feed_forward=config["intermediate_size"],
        rope_theta=config["rope_parameters"]["rope_theta"],
        context=config["max_position_embeddings"],
        vocabulary=config["vocab_size"],
        longest=settings["longest_text"],
        hours=settings["hours"],
        seed=settings["seed"],
        texts_per_step=settings["texts_per_step"],
        step=progress["step"],
        tokens=progress["tokens"],
        minutes=progress["seconds"] / 60,
        table="\n".join(f"| {what} | {value} |" for what, value in table),
        **held_out,
        **shares,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
