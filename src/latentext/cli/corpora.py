"""``latentext corpora``: which corpora of human completions there are, and how long their texts are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentext.cli.wording import columns, counted


def corpora(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A corpus to measure; without it all are listed.")
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="FILE", help="A local file of its rows.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="ID|DIR", help="Also count tokens of this model's tokenizer.")
    ] = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="Print the numbered task prompts.")] = False,
) -> None:
    """List the corpora that models can complete, or measure the human texts of one.

    Lengths are in words as spaCy's blank English tokenizer cuts them. A corpus of your own is one entry in
    latentext.yaml: see docs/complete.md.
    """
    from latentext.prompts.completion_corpora import completion_corpora, completion_corpus

    if prompts:
        chosen = {name: completion_corpus(name, where="NAME")} if name else completion_corpora()
        for corpus, entry in chosen.items():
            for number, text in entry.prompts.items():
                typer.echo(f"{corpus} {number}: {text}")
        return
    if name is not None:
        _measure(name, data, model)
        return
    rows = [("corpus", "limits in words", "prompts", "source")]
    for corpus, entry in completion_corpora().items():
        limits = "-" if entry.limits is None else f"{entry.limits[0]}-{entry.limits[1]}"
        place = entry.hub.name if entry.hub is not None else entry.file.path if entry.file is not None else ""
        rows.append((corpus, limits, ", ".join(map(str, entry.prompts)) or "-", place))
    for line in columns(rows):
        typer.echo(line)


def _measure(name: str, data: Path | None, model: str | None) -> None:
    from latentext.prompts.completion_corpora import HUMAN, completion_corpus
    from latentext.prompts.tokenizer import load_tokenizer
    from latentext.run.length_limits import human_texts
    from latentext.spec import FileSource, PromptSpec
    from latentext.word_count import measure_words

    entry = completion_corpus(name, where="NAME")
    file = None if data is None else FileSource(path=str(data))
    texts = human_texts(PromptSpec(corpus=name, template="{source}", file=file), HUMAN)
    found = measure_words(texts, None if model is None else load_tokenizer(model))
    typer.echo(
        f"{counted(found.texts, 'human text')} of {found.fewest} to {found.most} words, {found.mean:.1f} on average"
    )
    typer.echo(f"limits: [{found.fewest}, {found.most}]" + _registered(entry.limits, (found.fewest, found.most)))
    if found.tokens_per_word is not None:
        typer.echo(f"{found.tokens_per_word:g} tokens of {model} a word")


def _registered(limits: tuple[int, int] | None, found: tuple[int, int]) -> str:
    return (
        ""
        if limits is None or limits == found
        else f" (of these texts; of the whole corpus: [{limits[0]}, {limits[1]}])"
    )
