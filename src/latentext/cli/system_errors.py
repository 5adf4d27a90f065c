"""What the operating system refuses a command, in one line: output that cannot be written, names it cannot encode."""

from __future__ import annotations

import codecs
import errno
import os
import sys

import typer

from latentext.errors import EXIT_DONE, EXIT_FAILED, SpecError, printable

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
_UTF8 = "utf-8"


def exit_code_of(error: OSError) -> int:
    """Say in one line what the system refused.

    Raises:
        OSError: the same, where the line would not help: it names no file, and the disk is not the reason.
    """
    if _cannot_flush() or _raised_by_printing(error):
        _drop_output()
        _say(f"the output cannot be written: {error.strerror}")
    elif error.filename is not None:
        _say(f"{os.fsdecode(error.filename)}: {error.strerror}")
    elif error.errno in _OF_THE_DISK:
        _say(f"a file cannot be written: {error.strerror}")
    else:
        raise error
    return EXIT_FAILED


def after_output(code: int) -> int:
    """The exit code of a command once all that it printed is written, which Python does too late to say it."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # Whoever read the output has seen enough.
        _drop_output()
    except OSError as error:
        _drop_output()
        _say(f"the output cannot be written: {error.strerror}")
    else:
        return code
    return EXIT_FAILED if code == EXIT_DONE else code


def refuse_other_encodings(arguments: list[str]) -> None:
    """Specs, metadata and messages hold paths as UTF-8; a name in another encoding cannot be written into them.

    Raises:
        SpecError: the name, or the encoding of this process, is another one.
    """
    for word in arguments:
        try:
            word.encode()
        except UnicodeEncodeError:
            if _is_utf8(sys.getfilesystemencoding()):
                raise SpecError("is not UTF-8", where=word, remedy="give the file or folder another name") from None
            name = os.fsencode(word).decode(errors="backslashreplace")
            raise _not_utf8(sys.getfilesystemencoding(), name) from None


def encoding_refusal(error: UnicodeEncodeError) -> SpecError:
    """What to do in a process that cannot encode a name or a text, because it does not use UTF-8.

    Raises:
        UnicodeEncodeError: the same, where UTF-8 is used.
    """
    if _is_utf8(error.encoding):
        raise error
    return _not_utf8(error.encoding, error.object)


def _not_utf8(encoding: str, text: str) -> SpecError:
    what = f"this process writes names and texts as {encoding}, not as UTF-8"
    return SpecError(what, where=" ".join(text.split())[:80], remedy="set the environment variable PYTHONUTF8=1")


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == _UTF8


def _cannot_flush() -> bool:
    """Whether what is left to print cannot be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        return True
    return False


def _raised_by_printing(error: OSError) -> bool:
    """Whether the error comes out of typer, which prints: unbuffered output has nothing left that could be tried."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("typer.")


def _drop_output() -> None:
    """Send what is printed from here on, and what is left of before, nowhere."""
    try:
        place = os.open(os.devnull, os.O_WRONLY)
        os.dup2(place, sys.stdout.fileno())
        os.close(place)
    except (OSError, ValueError):  # No descriptor of the system, as in a test.
        return


def _say(line: str) -> None:
    try:
        typer.echo(f"latentext: {printable(line)}", err=True)
    except OSError:  # Nobody can be told.
        return
