"""``latentext align``: texts of a base model, and texts shifted towards chosen values by chosen weights λ.

Only thin commands: what does the work is imported inside them, so that ``latentext --help`` answers at once. Options
of the first two are spelled as MAP's gendata spells them, and with hyphens too.
"""

from __future__ import annotations

import sys
import warnings
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from latentext.cli import align_bank
from latentext.cli.interruption import continued_by
from latentext.cli.score import as_rewards
from latentext.cli.wording import counted
from latentext.errors import EXIT_DONE, EXIT_WITH_FAILURES, SpecError

if TYPE_CHECKING:
    from latentext.studies.align.generation import TextGeneration

app = typer.Typer(
    name="align",
    help="Value-aligned sampling: texts shifted towards chosen values by chosen weights λ.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
)

BaseModel = Annotated[
    str,
    typer.Option(
        "--basemodel_name",
        "--basemodel-name",
        metavar="ID|DIR",
        help="tiny, a Hugging Face id or a folder, or one of llama2_chat, opt1.3b, gpt2.",
    ),
]
DataName = Annotated[
    str,
    typer.Option(
        "--data_name", "--data-name", metavar="NAME", help="Anthropic-harmless or Imdb; any name beside --prompts."
    ),
]
SaveDirectory = Annotated[
    Path, typer.Option("--save_directory", "--save-directory", metavar="DIR", help="Where the files go.")
]
Prompts = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A file of prompts: of the named set, or with a column `prompt` of your own."),
]
TrimOption = Annotated[Literal["sentence"] | None, typer.Option(help="Cut texts back to their last full sentence.")]
LamList = Annotated[
    str, typer.Option("--lam_list", "--lam-list", metavar="λ,...", help="One λ a value, of either sign.")
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same texts.")]


@app.command()
def original(
    basemodel_name: BaseModel = "tiny",
    data_name: DataName = "Anthropic-harmless",
    save_directory: SaveDirectory = Path("results"),
    batch_size: Annotated[
        int, typer.Option("--batch_size", "--batch-size", min=1, help="Prompts that are done and kept at once.")
    ] = 32,
    prompts: Prompts = None,
    trim: TrimOption = None,
    max_new_tokens: Annotated[
        int, typer.Option("--max_new_tokens", "--max-new-tokens", min=1, help="The most tokens a text may have.")
    ] = 50,
    seed: Seed = 0,
) -> int:
    """Continue every prompt once by the base model itself.

    Writes {model}-{data}.json with prompt, generated and perplexity. The texts are sample 0 of the bank that `sample`
    extends. An interrupted run is continued by the same command.
    """
    options = {"prompts": prompts, "trim": trim, "max_new_tokens": max_new_tokens, "seed": seed}
    generation = _generation(basemodel_name, data_name, save_directory, options)
    with continued_by(sys.argv[1:]), warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        path = generation.generate_from_original_model(batch_size)
    skipped = [str(warning.message) for warning in found if warning.category is UserWarning]
    for line in skipped:
        typer.echo(f"warning: {line}")
    typer.echo(f"texts: {path}\ndataset: {generation.dataset}")
    return EXIT_WITH_FAILURES if skipped else EXIT_DONE


@app.command()
def sample(
    lam_list: LamList,
    value_list: Annotated[
        str,
        typer.Option(
            "--value_list",
            "--value-list",
            metavar="NAME,...",
            help="As many values, such as sentiment,length; all for humor, gpt2-helpful, gpt2-harmless, diversity, "
            "coherence, perplexity.",
        ),
    ],
    samples: Annotated[int, typer.Option("--MC_nsamples", "--samples", help="Samples a prompt to draw from.")] = 32,
    start_index: Annotated[
        int, typer.Option("--start_index", "--start-index", min=0, help="The first prompt, for work in shards.")
    ] = 0,
    end_index: Annotated[
        int | None, typer.Option("--end_index", "--end-index", help="The prompt to stop before.")
    ] = None,
    basemodel_name: BaseModel = "tiny",
    data_name: DataName = "Anthropic-harmless",
    save_directory: SaveDirectory = Path("results"),
    prompts: Prompts = None,
    rewards: Annotated[
        list[str] | None,
        typer.Option(
            "--reward",
            metavar="REWARD",
            help="A value of your own: file.py:function, or {name: polite, words: [please]}; may be repeated.",
        ),
    ] = None,
    trim: TrimOption = None,
    full_names: Annotated[
        bool, typer.Option("--full-names", "--full_names", help="Write λ exactly into names and rows.")
    ] = False,
    max_new_tokens: Annotated[
        int, typer.Option("--max_new_tokens", "--max-new-tokens", min=1, help="The most tokens a text may have.")
    ] = 50,
    seed: Seed = 0,
) -> int:
    """Draw one of many continuations of each prompt with probability proportional to exp(λ·r).

    Writes temp/{model}-{data}_lam={λ}_val={values}_{start}to{end}.json. The continuations and their rewards stay in the
    dataset, so another λ over the same values needs no model. An interrupted run is continued by the same command.
    """
    from latentext.studies.align import describe

    options: dict[str, Any] = {"prompts": prompts, "trim": trim, "max_new_tokens": max_new_tokens, "seed": seed}
    options |= {"rewards": as_rewards(rewards or ()), "full_names": full_names}
    generation = _generation(basemodel_name, data_name, save_directory, options)
    with continued_by(sys.argv[1:]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # They are among the lines below.
        drawn = generation.generate_from_MC_aligned_model(lam_list, value_list, samples, start_index, end_index)
    for line in describe(drawn.diagnosis):
        typer.echo(line)
    for line in drawn.warnings:
        typer.echo(f"warning: {line}")
    typer.echo(f"texts: {drawn.path} ({drawn.texts:,})\ndataset: {generation.dataset}")
    return EXIT_WITH_FAILURES if drawn.skipped else EXIT_DONE


@app.command()
def merge(
    parts: Annotated[
        list[Path],
        typer.Argument(metavar="PART...", help="Files ..._{start}to{end}.json, or what all their names begin with."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="By default beside the folder of the parts.")
    ] = None,
    prompts: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many prompts there are, to notice a missing last part.")
    ] = None,
    remove_parts: Annotated[
        bool, typer.Option("--remove-parts", help="Remove the parts once the result is on the disk.")
    ] = False,
    overwrite: align_bank.Overwrite = False,
) -> int:
    """Join the files of shards: in order, without gap or overlap."""
    from latentext.studies.align.merging import find_parts, part_of
    from latentext.studies.align.merging import merge as join

    found = [part_of(path) for path in parts if path.suffix == ".json"]
    for beginning in (path for path in parts if path.suffix != ".json"):
        merged = output or _merged_file(beginning.parent, beginning.name)
        if remove_parts and merged.is_file() and not any(beginning.parent.glob(f"{escape(beginning.name)}_*to*.json")):
            typer.echo(f"merged before, and the parts are removed: {merged}")
            return EXIT_DONE
        found += find_parts(beginning.parent, beginning.name)
    if not found:
        raise SpecError("no parts to merge", remedy="name their files")
    target = output or _merged_file(found[0].path.parent, found[0].stem)
    count = join([part.path for part in found], target, prompts=prompts, remove_parts=remove_parts, overwrite=overwrite)
    typer.echo(f"{counted(count, 'text')} of {counted(len(found), 'part')}: {target}")
    return EXIT_DONE


def _merged_file(folder: Path, stem: str) -> Path:
    """Where the parts in a folder are merged to, unless the user says it."""
    return (folder.parent if folder.name == "temp" else folder) / f"{stem}.json"


app.command("weigh")(align_bank.weigh)
app.command("draw")(align_bank.draw)
app.command("solve")(align_bank.solve)
app.command("sweep")(align_bank.sweep)
app.command("report")(align_bank.report)


def _generation(model: str, data_name: str, save_directory: Path, options: dict[str, Any]) -> TextGeneration:
    from latentext.run.progress import progress_for
    from latentext.studies.align.generation import TextGeneration

    return TextGeneration(model, data_name, save_directory, progress=progress_for(sys.stderr), **options)
