"""The one door for calls into transformers, tokenizers and huggingface_hub that read a model's files.

These libraries raise whatever the first line that trips over a file happens to raise: OSError, KeyError,
AttributeError, ZeroDivisionError, bare Exception, the HTTP client's own. A list of them is never complete, and an
exception that is not in it is a traceback for the user. So all of them are caught here, around the library's call
alone, and become one line: what the files or the network explain (`latentext.models.faults`), else their own words.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gaierror

from latentext.errors import CredentialsError, LatentextError, SpecError
from latentext.models.faults import ModelFault, fault_in

_MOST_CHARACTERS = 240
_SPEAK_FOR_THEMSELVES = (OSError, ValueError, ImportError, RuntimeError)
"""Errors whose messages are sentences; of others the kind is said too."""


@contextmanager
def guarded(name: str, kind: str = "model", folder: Path | None = None) -> Iterator[None]:
    """Turn whatever a library raises inside the ``with`` block into one line. Nothing of ours belongs inside.

    Args:
        name: what is read, as the user gave it.
        kind: what that is, such as ``model`` or ``tokenizer``.
        folder: where its files are, to find out what is wrong with them.

    Raises:
        SpecError, CredentialsError: for any exception but those of this package and a shortage of memory.

    Example:
        >>> with guarded("mine"):
        ...     {}["hidden_size"]
        Traceback (most recent call last):
        latentext.errors.SpecError: model mine: cannot be loaded: KeyError: 'hidden_size'; check its files
    """
    try:
        yield
    except (LatentextError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's; it is not imported for tokenizers.
            raise
        raise loading_error(error, name, kind, folder) from error


def loading_error(error: Exception, name: str, kind: str = "model", folder: Path | None = None) -> LatentextError:
    """The one-line error for what reading `name` raised: gated, unknown, no network, or a fault of its files.

    Libraries wrap each other's errors, so the whole chain of causes is looked at.
    """
    where = f"{kind} {name}"
    if (found := _of_the_hub(list(_causes(error)), where, kind)) is not None:
        return found
    if any("trust_remote_code" in str(link) for link in _causes(error)):
        return code_not_run(name, kind)
    fault = (fault_in(folder, error) if folder is not None else None) or ModelFault(_words(error), "check its files")
    return SpecError(f"cannot be loaded: {fault.what}", where=where, remedy=fault.remedy)


def code_not_run(name: str, kind: str = "model") -> SpecError:
    """The error for a model whose own Python code nobody has allowed."""
    return SpecError(
        "needs Python code of its own, which was not run",
        where=f"{kind} {name}",
        remedy="where you trust it: --trust-remote-code, or model.trust_remote_code: true in a spec of yours",
    )


def _of_the_hub(chain: list[BaseException], where: str, kind: str) -> LatentextError | None:
    from huggingface_hub import errors as hub

    if any(isinstance(link, hub.GatedRepoError) for link in chain):
        return CredentialsError(
            "access is gated",
            where=where,
            remedy="accept its licence on huggingface.co and set HF_TOKEN in the environment or in .env",
            heading="Gated models",
        )
    if any(isinstance(link, (hub.RepositoryNotFoundError, hub.RevisionNotFoundError)) for link in chain):
        return SpecError(
            f"Hugging Face has no such {kind} or revision, or HF_TOKEN may not see it",
            where=where,
            remedy="check the name",
        )
    # Of the HTTP client beneath (`HTTPError` is its own class) all but answers with a status.
    network = (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError, gaierror, TimeoutError)
    http_client: type[Exception] = hub.HTTPError  # type: ignore[attr-defined]
    if any(
        isinstance(link, network) or (isinstance(link, http_client) and not isinstance(link, hub.HfHubHTTPError))
        for link in chain
    ):
        return SpecError(
            "not in the local cache, and Hugging Face cannot be reached",
            where=where,
            remedy="go online once, or use local files",
            heading="No network",
        )
    return None


def _words(error: Exception) -> str:
    """What an exception says, in one line of bearable length."""
    from huggingface_hub.errors import StrictDataclassError

    said = " ".join(str(error).split())
    if not isinstance(error, (*_SPEAK_FOR_THEMSELVES, StrictDataclassError)) or not said:
        said = f"{type(error).__name__}: {said}".removesuffix(": ")
    return said if len(said) <= _MOST_CHARACTERS else f"{said[:_MOST_CHARACTERS]} …"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
