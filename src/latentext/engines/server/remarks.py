"""What a person should know before requests go to a server: which key is sent, and whether money can be counted."""

from __future__ import annotations

from latentext.engines.server.credentials import KEY, PLACEHOLDER, api_key, is_openai, server_address
from latentext.engines.server.prices import price_of
from latentext.errors import CredentialsError
from latentext.spec import ApiOptions, ModelSpec


def remarks_on(model: ModelSpec) -> list[str]:
    """A line for each thing that is not as one would think.

    Example:
        >>> at_home = ModelSpec(name="m", engine="openai", api=ApiOptions(base_url="http://127.0.0.1:1/v1"))
        >>> len(remarks_on(at_home)) > 0
        True
    """
    url = server_address((model.api or ApiOptions()).base_url)
    lines = []
    try:
        if not api_key(url)[1]:
            lines.append(f"no {KEY} is set: the server gets the placeholder {PLACEHOLDER!r} for a key")
    except CredentialsError:
        pass  # Said by the engine, as the error that it is.
    if price_of(model) is None:
        table = "the table of OpenAI's prices" if is_openai(url) else "no table of prices"
        not_named = "does not name" if is_openai(url) else "for this server names"
        lines.append(f"{table} {not_named} {model.name!r}: tokens are counted, money is not (see model.api.prices)")
    return lines
