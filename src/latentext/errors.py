"""The few errors a user of latentext can meet, each with the exit code that the command line gives it.

A message is one line: what is wrong, where (file, line or field), what to do. Longer advice stands in
docs/troubleshooting.md; `heading` names the section there, and a test checks that the section exists.
"""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with every character that would act on a terminal, or not be seen, as its escape.

    Example:
        >>> print(printable("a\x1b[31mb\u202e"))
        a\x1b[31mb\u202e
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class LatentextError(Exception):
    """Base of all errors that latentext raises on purpose.

    Example:
        >>> str(LatentextError("no such column 'txt'", where="prompts.csv", remedy="columns are: id, text"))
        "prompts.csv: no such column 'txt'; columns are: id, text"
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None, heading: str | None = None):
        self.what, self.where, self.remedy, self.heading = what, where, remedy, heading
        super().__init__(self._line())

    def _line(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        if self.remedy:
            line += f"; {self.remedy}"
        if self.heading:
            line += f" (see docs/troubleshooting.md, {self.heading!r})"
        return printable(" ".join(line.split()))


class SpecError(LatentextError):
    """The spec, an option or an input file is not usable: nothing was started, nothing was lost."""

    exit_code = 2


class ArgumentError(SpecError, ValueError):
    """An argument of a Python function is not usable; a ValueError too, which is what Python callers look for."""


class PromptError(SpecError):
    """One prompt cannot be used. Inside a plan it becomes that request's `Failure`, and the others go on."""


class CredentialsError(LatentextError):
    """A key or token is missing or was refused."""

    exit_code = 2


class DatasetError(LatentextError):
    """A dataset directory is damaged, foreign, newer than this version, or held by another run."""

    exit_code = 1


class DiskFullError(LatentextError):
    """The disk is full: the run stopped cleanly, nothing half-written stands under a final name."""

    exit_code = 1


class EngineError(LatentextError):
    """The model or its server failed in a way that stops the run."""

    exit_code = 1


class BudgetError(LatentextError):
    """A cap or a provider's quota was reached; the run can be continued."""

    exit_code = 3


EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CAPPED = 3
EXIT_WITH_FAILURES = 4
EXIT_INTERRUPTED = 130
