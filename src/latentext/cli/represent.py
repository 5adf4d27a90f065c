"""``latentext represent``: a file of prompts, or of texts to repeat, becomes texts with one vector each."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentext.cli.capture import as_site, separated
from latentext.cli.interruption import continued_by
from latentext.cli.options import sites_option
from latentext.cli.run import print_plan, print_summary
from latentext.errors import SpecError

if TYPE_CHECKING:
    from latentext.studies.represent.extract import Representation

Options = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="An option for the chat template or for decoding; see docs/represent.md."),
]


def represent(
    file: Annotated[
        Path, typer.Argument(metavar="PROMPTS", help="CSV, TSV, JSON lines, Parquet or text, one prompt a row.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where hidden/, texts.pkl and the dataset are made.")
    ],
    column: Annotated[str, typer.Option(help="The column of prompts, or of texts to repeat.")] = "prompt",
    id_column: Annotated[str | None, typer.Option(help="The column that names the rows; files bear the names.")] = None,
    task: Annotated[str, typer.Option(help="create, repeat, or a system text of your own.")] = "create",
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="ID|DIR", help="Hugging Face id, folder, or tiny.")
    ] = "tiny",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The most tokens a text may have.")] = 1000,
    pooling: Annotated[
        list[str] | None,
        typer.Option(
            "--pool", "--pooling", metavar="POOL,...", help="last (default), mean, max, first, entropy_mean; or none."
        ),
    ] = None,
    sites: Annotated[
        list[str] | None,
        sites_option("final_norm by default"),
    ] = None,
    prefix: Annotated[str, typer.Option(help="What the names of the vectors' files begin with.")] = "hidden_",
    verify: Annotated[bool, typer.Option(help="Check repeats in one pass instead of writing them by token.")] = True,
    segments: Annotated[
        str | None,
        typer.Option(metavar="sentences", help="With --pooling none: also keep the states at the ends of sentences."),
    ] = None,
    tokenizer_config: Options = None,
    model_config: Options = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Write again where a text failed.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be made, the system message too; make nothing.")
    ] = False,
) -> int:
    """Write a text for each prompt, or repeat it, and keep one vector a text from inside the model.

    Before each prompt the model gets a system message: "You write the text that the user asks for, and nothing else."
    for create, "You are a text generator who always repeats the text of the user verbatim." for repeat, or your own.

    An interrupted run is continued by the same command.
    """
    prompts, ids, others = _read(file, column, id_column)
    asked = (
        task,
        max_new_tokens,
        _options(tokenizer_config, "--tokenizer-config"),
        _options(model_config, "--model-config"),
        separated(pooling or ["last"]),
    )
    wanted: dict[str, Any] = {
        "sites": [as_site(site) for site in separated(sites or ["final_norm"])],
        "verify": verify,
    }
    if dry_run:
        return _plan(prompts, ids, model, *asked, **wanted)
    task, max_new_tokens, tokenizer_options, model_options, pools = asked
    with continued_by(sys.argv[1:]), warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        made = _represent(
            prompts,
            output / "hidden",
            output / "texts",
            model,
            model,
            task,
            max_new_tokens,
            prefix,
            tokenizer_options,
            model_options,
            pools,
            ids=ids,
            columns=others,
            segments=segments,
            retry_failed=retry_failed,
            **wanted,
        )
    _print(made, [str(warning.message) for warning in found if warning.category is UserWarning])
    return made.run.exit_code


def _plan(prompts: list[Any], ids: list[Any] | None, model: str, *arguments: Any, **options: Any) -> int:
    """Print what the run would make."""
    from latentext.spec import ModelSpec
    from latentext.spec.limits import Limits
    from latentext.storage.atomic import temporary_folder

    with _needed_packages():
        from latentext.studies.represent.extract import represent_spec
        from latentext.studies.represent.texts import check_ids, check_prompts, write_prompts
    texts = check_prompts(prompts)
    with temporary_folder("represent") as folder:
        write_prompts(folder / "prompts.jsonl", texts, check_ids(ids, len(texts)))
        return print_plan(
            represent_spec(ModelSpec(name=model), folder / "prompts.jsonl", *arguments, **options), Limits()
        )


@contextmanager
def _needed_packages() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        what = f"represent needs {error.name}"
        raise SpecError(what, remedy="pip install 'latentext[represent]'") from error


def _represent(*arguments: Any, **options: Any) -> Representation:
    from latentext.run.progress import progress_for

    with _needed_packages():
        from latentext.studies.represent.extract import extract_and_save_hidden_states
    return extract_and_save_hidden_states(*arguments, **options, progress=progress_for(sys.stderr))


def _read(file: Path, column: str, id_column: str | None) -> tuple[list[Any], list[Any] | None, dict[str, list[Any]]]:
    """A column of the file, that of the ids, and all columns but the prompts'; None where a row lacks one.

    Rows that cannot be read stop the command: none may be lost.
    """
    from latentext.prompts.files import open_file
    from latentext.prompts.rows import BadRow
    from latentext.spec import FileSource
    from latentext.storage.atomic import temporary_folder

    wanted = [column] if id_column is None else [column, id_column]
    found: list[dict[str, Any]] = []
    with temporary_folder("rows") as folder:
        rows = open_file(FileSource(path=str(file)), folder)
        for number in range(len(rows)):
            row = rows.row(number)
            if isinstance(row, BadRow):
                raise SpecError(row.message, where=str(file), remedy="correct the row")
            for name in wanted:
                if name not in row:
                    what = f"row {number} has no column {name!r}"
                    raise SpecError(what, where=str(file), remedy=f"its columns are: {', '.join(map(str, row))}")
            found.append(dict(row))
    values = {name: [row.get(name) for row in found] for name in dict.fromkeys(name for row in found for name in row)}
    prompts, ids = values.pop(column, []), None if id_column is None else [row[id_column] for row in found]
    return prompts, ids, values


def _options(settings: list[str] | None, where: str) -> dict[str, Any]:
    from latentext.spec.yaml_text import YamlError, parse_yaml

    options = {}
    for setting in settings or []:
        name, equals, text = setting.partition("=")
        if not equals:
            raise SpecError(f"{setting!r} is not of the form name=value", where=where, remedy="as in stop=END")
        try:
            options[name.strip()] = parse_yaml(text)
        except YamlError as error:
            raise SpecError(str(error), where=where, remedy="give the value in YAML") from None
    return options


def _print(made: Representation, warned: list[str]) -> None:
    from latentext.dataset.captures import labels
    from latentext.dataset.reader import open_dataset

    print_summary(made.run)
    typer.echo(f"system message before each prompt: {made.system}")
    typer.echo(f"texts: {made.frame}")
    called = labels(open_dataset(made.dataset).captures)
    for name, folder in made.hidden.items():
        site, _, pool = name.partition(":")
        typer.echo(f"vectors ({called[site]}, {pool}): {folder}")
    if made.fidelity is not None:
        typer.echo(f"fidelity: {made.fidelity}")
    for line in warned:
        typer.echo(f"warning: {line}", err=True)
