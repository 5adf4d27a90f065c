"""The command `latentext`: the options before every command, the commands, and what an error looks like.

The help must answer at once, so the modules of the commands import what does the work inside their functions. Errors
are one line and an exit code that scripts can rely on (docs/troubleshooting.md lists them); a traceback means a fault
of latentext itself.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

import latentext
from latentext.cli import (
    align,
    batch,
    capture,
    complete,
    demo,
    directories,
    export,
    lists,
    pairs,
    probe,
    report,
    represent,
    run,
    score,
    show,
)
from latentext.cli.sections import CommandSections
from latentext.cli.still_working import named, never_silent
from latentext.cli.system_errors import after_output, encoding_refusal, exit_code_of, refuse_other_encodings
from latentext.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, LatentextError, printable
from latentext.storage.interrupts import sigterm_as_interrupt

HELP = """Text datasets from language models, with the hidden states behind every token.

A spec says which prompts, which model and which states; a run turns it into one directory, which can be interrupted and
continued at any time. Start with: latentext demo"""

app = typer.Typer(
    name="latentext",
    cls=CommandSections,
    help=HELP,
    rich_markup_mode=None,  # Help that looks the same on a terminal, in a pipe and in an issue.
    invoke_without_command=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("run")(run.run)
app.command("capture")(capture.capture)
app.command("score")(score.score)
app.command("status")(directories.status)
app.command("verify")(directories.verify)
app.command("export")(export.export)
app.command("merge")(directories.merge)
app.command("show")(show.show)
app.command("probe")(probe.probe)
app.command("report")(report.report)
app.command("represent")(represent.represent)
app.command("complete")(complete.complete)
app.command("models")(lists.models)
app.command("corpora")(lists.corpora)
app.command("recipes")(lists.recipes)
app.command("schema")(lists.schema)
app.command("demo")(demo.demo)
app.add_typer(align.app)
app.add_typer(pairs.app)
app.add_typer(batch.app)


LogLevel = Literal["debug", "info", "warning", "error"]


@app.callback()
def before_every_command(
    context: typer.Context,
    log_level: Annotated[LogLevel, typer.Option(help="The least serious messages that are printed.")] = "warning",
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Set up what every command needs."""
    if version:
        typer.echo(f"latentext {latentext.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
    _configure(log_level)


class _ToStderr(logging.Handler):
    """Messages go where the error stream is when they come: a display on the terminal takes its place for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


class _Printable(logging.Formatter):
    """Messages may quote a server or a file: nothing of them may act on the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).splitlines()))


def _configure(log_level: LogLevel) -> None:
    """Read `.env`, then set the log level: of this package here, of the libraries where they look when imported.

    They warn of every retry and every unused setting, beside which a one-line error is not found; their warnings are
    shown from ``--log-level info`` on.
    """
    from dotenv import find_dotenv, load_dotenv

    from latentext.dataset.outputs import is_dataset

    place = find_dotenv(usecwd=True)
    # Variables can name code, such as PYTHONPATH: those of a dataset that somebody works in stay unread.
    if place and not any(map(is_dataset, Path(place).parents)):
        load_dotenv(place)
    handler = _ToStderr()
    handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("latentext")
    logger.handlers = [handler]
    logger.setLevel(log_level.upper())
    for variable in ("TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY"):
        os.environ.setdefault(variable, "error" if log_level == "warning" else log_level)
    if not sys.stderr.isatty():  # Bars of Hugging Face redraw a line, which fills a log file.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    code = exit_code(arguments)
    gc.freeze()  # Else Python looks through all objects of torch once more: seconds after the last line.
    sys.exit(code)


def exit_code(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its result, or the exit code of the error that was printed, is returned."""
    try:
        return after_output(_exit_code(sys.argv[1:] if arguments is None else list(arguments)))
    except OSError as error:
        return exit_code_of(error)


def _exit_code(words: list[str]) -> int:
    try:
        refuse_other_encodings(words)
        with sigterm_as_interrupt(), never_silent(named(words)):
            result = app(args=words, prog_name="latentext", standalone_mode=False)
    except LatentextError as error:
        typer.echo(f"latentext: {error}", err=True)
        return error.exit_code
    except UnicodeEncodeError as error:
        refusal = encoding_refusal(error)
        typer.echo(f"latentext: {refusal}", err=True)
        return refusal.exit_code
    except typer.TyperException as error:
        typer.echo(_usage_line(error), err=True)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return EXIT_DONE if result is None else int(result)


def _usage_line(error: typer.TyperException) -> str:
    """What is wrong with the arguments, in one line, and where the right ones are listed."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "latentext"
    if error.format_message().startswith("Usage:"):  # A group of commands without a command: its help.
        return error.format_message()
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{command}: {message[:1].lower()}{message[1:]} (see {command} --help)"
