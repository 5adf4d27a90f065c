"""``latentext report``: pictures of a dataset, as files and as one page that can be passed on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentext.cli.visible import token_decoder
from latentext.cli.wording import counted
from latentext.errors import LatentextError, SpecError

if TYPE_CHECKING:
    from latentext.dataset.reader import Dataset
    from latentext.report.probe_scores import Predictions
    from latentext.report.tokens import Decode

_UNITS = {"remaining": "tokens", "total": "tokens", "log_remaining": "log(1 + tokens)", "progress": "share of the text"}
"""Of the targets whose predictions are numbers to be set beside the truth."""


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset directory.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write; DIR/report by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which rows are drawn as points.")] = 0,
) -> None:
    """Draw a dataset: lengths, tokens, states, correctness, probes; completions beside human texts.

    Of a folder of datasets that latentext complete made: people and all models side by side.

    Writes a PNG file for each picture and index.html, a single page with all of them inside that loads nothing from
    elsewhere. Pictures that the dataset does not allow are named with the reason.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise SpecError("pictures need matplotlib", remedy="pip install 'latentext[report]'") from error
    from latentext.dataset.layout import SPEC
    from latentext.dataset.reader import open_dataset
    from latentext.report.making import make_report

    if not (directory / SPEC).is_file() and directory.is_dir():
        from latentext.report.making import make_completions_report

        made = make_completions_report(directory, output)
        typer.echo(f"{counted(len(made.pictures), 'picture')}: {made.page}")
        return
    dataset = open_dataset(directory)
    found = list(predictions(dataset))
    made = make_report(dataset, output, decode=decoder(dataset), predictions=found, seed=seed)
    for absent in made.skipped:
        typer.echo(f"no {absent.name}: {absent.reason}")
    typer.echo(f"{counted(len(made.pictures), 'picture')}: {made.page}")


def decoder(dataset: Dataset) -> Decode:
    """The texts of tokens; their ids, with a line that says why, where the tokenizer is not to be had."""
    from latentext.report.tokens import as_id

    try:
        return token_decoder(dataset)
    except LatentextError as error:
        typer.echo(f"tokens are shown as ids: {error}", err=True)
        return as_id


def predictions(dataset: Dataset) -> Iterator[Predictions]:
    """What saved probes say of their test rows: of each folder of probes the deepest site."""
    from latentext.dataset.captures import layers
    from latentext.report.probe_scores import result_files

    for results in result_files(dataset):
        sites = [site for site in layers(dataset.captures) if (results.parent / f"{site}.json").exists()]
        if not sites:
            continue
        try:
            found = predict(dataset, results.parent / sites[-1])
        except LatentextError as error:  # A probe of other data is no reason to go without the other pictures.
            typer.echo(f"no predictions of {results.parent.name}: {error}", err=True)
            continue
        if found is not None:
            yield found


def predict(dataset: Dataset, path: Path) -> Predictions | None:
    """The predictions of one saved probe; None where its target is a bin."""
    import numpy as np

    from latentext.probes.collecting import collect
    from latentext.probes.division import TEST, Division
    from latentext.probes.fitting import predict as predict_rows
    from latentext.probes.judging import row_targets
    from latentext.probes.posing import Posed
    from latentext.probes.saved import check_fits, load_probe
    from latentext.report.probe_scores import Predictions

    probe, facts = load_probe(path)
    if facts.target not in _UNITS:
        return None
    check_fits(facts, dataset)
    rows, source, part = collect(
        dataset, [facts.site], facts.target, Division(**facts.division), facts.keep, facts.pool
    )
    test = rows.of(TEST)
    output = predict_rows(source, {facts.site: probe}, test)[facts.site]
    actual = row_targets(test, range(len(test)))
    predicted = np.concatenate([block.values for block in Posed(facts.question, rows).read(output.blocks())])
    label = source.views[facts.site].label
    return Predictions(path.parent.name, label, facts.target, _UNITS[facts.target], actual, predicted, str(part))
