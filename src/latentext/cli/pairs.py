"""``latentext pairs``: prompts that differ in exactly one token, checked, proposed, made from word banks, divided.

Only thin commands: what does the work is imported inside them, so that ``latentext --help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from latentext.cli import pairs_generate, pairs_plan
from latentext.cli.options import finite
from latentext.cli.pairs_options import (
    CacheDir,
    ConfigDir,
    Details,
    Force,
    LogLevelOption,
    Tokenizers,
    load,
    set_log_level,
)
from latentext.cli.pairs_summary import print_tally
from latentext.cli.wording import columns as aligned
from latentext.cli.wording import counted
from latentext.errors import EXIT_DONE, EXIT_FAILED, SpecError

if TYPE_CHECKING:
    from latentext.studies.pairs import PairCheck, PairTokenizer, Scenario
    from latentext.studies.pairs.checks import TwinTexts
    from latentext.studies.pairs.validation import Render

app = typer.Typer(
    name="pairs",
    help="Counterfactual pairs: prompts that differ in exactly one token.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Pairs as JSONL or Parquet, or a file with --columns.")],
    tokenizer: Tokenizers = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Check the bare texts in two columns of a JSONL, CSV or TSV file.")
    ] = None,
    show_failures: Annotated[bool, typer.Option("--show-failures", help="Print every pair that is not valid.")] = False,
    same_word: Annotated[
        bool, typer.Option("--same-word", help="The differing token must spell the same word everywhere.")
    ] = False,
    chat: Annotated[bool, typer.Option("--chat", help="Check every text inside the chat templates too.")] = False,
    chat_template: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="A chat template for one tokenizer; implies --chat.")
    ] = None,
    answers: Annotated[
        str | None, typer.Option(metavar="TASK", help="Say also whether this task's answers are one token each.")
    ] = None,
    config_dir: ConfigDir = None,
    cache_dir: CacheDir = None,
    log_level: LogLevelOption = "WARNING",
) -> int:
    """Check that every pair differs in exactly one token under every tokenizer.

    Prints how many pairs hold under each tokenizer and why the others do not. The exit code is 0 only if all do.
    """
    from latentext.studies.pairs import ReasonTally, validate_texts

    set_log_level(log_level)
    pairs = _twins(file, columns)
    tokenizers = load(tokenizer, cache_dir)
    chats = _chats(tokenizers, chat_template or []) if chat or chat_template else None
    tally = ReasonTally.of(tokenizers)
    checks = tally.watch(validate_texts(pairs, tokenizers, same_word=same_word, chats=chats))
    for number, check in enumerate(checks):
        if show_failures and not check.valid:
            typer.echo(f"pair {number}: {check.describe()}: {_shown(check)}")
    if tally.pairs == 0:
        raise SpecError("holds no pairs", where=str(file), remedy="give a file with at least one pair")
    print_tally(tally)
    if answers is not None:
        _print_answers(answers, config_dir, tokenizers)
    return EXIT_DONE if tally.valid() == tally.pairs else EXIT_FAILED


@app.command()
def substitute(
    task: Annotated[str, typer.Option(metavar="TASK", help="The name or file of a task.")] = "refusal",
    num_scenarios: Annotated[int, typer.Option(min=1, metavar="N", help="Scenarios to make, four lines each.")] = 1500,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="JSON lines, or Parquet if it ends so.")
    ] = Path("dataset.jsonl"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same scenarios.")] = 0,
    bank: Annotated[str | None, typer.Option(metavar="FILE", help="Your own word bank; default is the task's.")] = None,
    details: Details = False,
    show: Annotated[int, typer.Option(min=0, metavar="N", help="Print N scenarios, drawn from the set.")] = 0,
    tokenizer: Tokenizers = None,
    config_dir: ConfigDir = None,
    cache_dir: CacheDir = None,
    force: Force = False,
    log_level: LogLevelOption = "WARNING",
) -> int:
    """Make pairs from sentence frames and word lists, without any model: every one is valid."""
    from latentext.studies.pairs import check_place, load_bank, load_task, write_scenarios
    from latentext.studies.pairs import substitute as make

    set_log_level(log_level)
    check_place(output, overwrite=force)
    tokenizers = load(tokenizer, cache_dir)
    loaded = load_task(task, config_dir=config_dir, tokenizers=tokenizers)
    words = load_bank(bank or loaded.task_name, config_dir=config_dir)
    scenarios = make(loaded, words, tokenizers, num_scenarios, seed=seed)
    write_scenarios(output, scenarios, details=details, overwrite=force)
    _print_make_up(scenarios)
    _print_sample(scenarios, min(show, len(scenarios)), seed)
    typer.echo(f"{counted(len(scenarios), 'scenario')} in {output}")
    return EXIT_DONE


@app.command()
def split(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Pairs as JSONL or Parquet.")],
    by: Annotated[
        Literal["scenario", "word", "frame", "topic"],
        typer.Option("--split-by", "--by", help="What must not stand on two sides."),
    ] = "word",
    val: Annotated[float, typer.Option(min=0, max=0.99, callback=finite, help="The share of validation.")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=0.99, callback=finite, help="The share of test.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same split.")] = 0,
    force: Force = False,
) -> int:
    """Divide pairs into training, validation and test files beside FILE, with no word or frame in two of them."""
    from latentext.spec import SplitSpec
    from latentext.studies.pairs import check_place, read_scenarios, split_scenarios, write_scenarios

    parts = split_scenarios(list(read_scenarios(file)), SplitSpec(by=by, val=val, test=test, seed=seed))
    paths = {name: file.with_suffix(f".{name}{file.suffix}") for name in parts}
    for name, part in parts.items():
        check_place(paths[name], overwrite=force or _holds(paths[name], part))
    for name, part in parts.items():
        write_scenarios(paths[name], part, details=any(scenario.checks for scenario in part), overwrite=True)
    for name, part in parts.items():
        typer.echo(f"{counted(len(part), 'scenario')} in {paths[name]}")
    return EXIT_DONE


app.command("plan")(pairs_plan.plan)
app.command("generate")(pairs_generate.generate)


def _holds(file: Path, scenarios: Sequence[Scenario]) -> bool:
    """Whether a file says the same already, as after a command that was interrupted between two files."""
    from latentext.studies.pairs import read_scenarios

    try:
        return file.is_file() and list(read_scenarios(file)) == list(scenarios)
    except SpecError:
        return False


def _twins(file: Path, columns: str | None) -> Iterator[TwinTexts]:
    from latentext.studies.pairs import read_columns, read_scenarios

    if columns is None:
        return (scenario.texts for scenario in read_scenarios(file))
    names = columns.split(",")
    if len(names) != 2 or not all(names):
        raise SpecError(f"--columns needs two names, not {columns!r}", remedy="for example --columns clean,corrupt")
    return ({"text": pair} for pair in read_columns(file, (names[0], names[1])))


def _chats(tokenizers: Sequence[PairTokenizer], templates: Iterable[str]) -> dict[str, Render]:
    from latentext.studies.pairs.chat import chat_renderers

    named = [template.partition("=") for template in templates]
    if wrong := next(("".join(parts) for parts in named if not all(parts)), None):
        raise SpecError(f"--chat-template needs NAME=FILE, not {wrong!r}", remedy="name the tokenizer it is for")
    return chat_renderers(tokenizers, {name: Path(path) for name, _, path in named})


def _shown(check: PairCheck) -> str:
    first, second = list(check.texts.values())[-1]
    return f"{first!r} / {second!r}"


def _print_answers(name: str, config_dir: Path | None, tokenizers: Sequence[PairTokenizer]) -> None:
    from latentext.studies.pairs import check_answers, load_task

    task = load_task(name, config_dir=config_dir)
    rows = [["tokenizer", "answer", "prompt ends with", "finding", "ids"]]
    for check in check_answers(task, tokenizers):
        end = "a space" if check.trailing_space else "no space"
        rows.append(
            [check.tokenizer, repr(check.answer), end, check.finding, f"[{', '.join(map(str, check.token_ids))}]"]
        )
    typer.echo("")
    for line in aligned(rows):
        typer.echo(line)


def _print_make_up(scenarios: Sequence[Scenario]) -> None:
    from collections import Counter

    topics = Counter(scenario.topic for scenario in scenarios)
    frames = Counter(scenario.frame for scenario in scenarios)
    words = Counter(word for scenario in scenarios for word in scenario.words)
    rows = [["", "different", "most often", "share"]]
    for name, counts in (("topics", topics), ("frames", frames), ("words", words)):
        [(most, count)] = counts.most_common(1)
        rows.append([name, str(len(counts)), str(most), f"{count / len(scenarios):.1%}"])
    for line in aligned(rows):
        typer.echo(line)


def _print_sample(scenarios: Sequence[Scenario], count: int, seed: int) -> None:
    import random

    for scenario in random.Random(seed).sample(scenarios, count):
        first, second = scenario.words
        typer.echo(f"{scenario.scenario_id:>5}  {scenario.frame.replace('{}', f'[{first} | {second}]')}")
