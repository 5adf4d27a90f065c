"""The address of a server, in its parts: what goes before the path of an endpoint, and the query that goes behind it.

Azure's and some gateways' addresses carry a query (``?api-version=…``), and many have no path at all. Joined as texts,
the one ends in the query and the other in the name of the host.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

_ENDPOINTS = ("/chat/completions", "/completions", "/responses", "/embeddings", "/batches", "/files")


def problem_of(url: str) -> str | None:
    """Why requests cannot be sent to an address, in words; None if they can.

    Example:
        >>> problem_of("localhost:8000"), problem_of("http://localhost:8000")
        ('it does not begin with http:// or https://', None)
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        return "it holds a space, a line break or a character beyond ASCII"
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or ""), parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https"):
        return "it does not begin with http:// or https://"
    if not host or any(not 0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        return "it names no host"
    if parts.fragment:
        return "it holds a #"
    if ending := next((e for e in _ENDPOINTS if parts.path.rstrip("/").endswith(e)), None):
        return f"it ends in {ending}, which is added to it"
    return None


def base_and_query(url: str | None) -> tuple[str | None, dict[str, object]]:
    """An address without its query, and the query by names, as the official client takes them.

    Example:
        >>> base_and_query("http://h/v1?api-version=1")
        ('http://h/v1', {'api-version': '1'})
    """
    if url is None:
        return None, {}
    base, _, query = url.partition("?")
    return base, dict(parse_qsl(query, keep_blank_values=True))


def endpoint(base: str, path: str, query: str = "") -> str:
    """Where requests of one kind go.

    Example:
        >>> endpoint("https://api.deepseek.com", "chat/completions"), endpoint("http://h/v1/", "models", "v=1")
        ('https://api.deepseek.com/chat/completions', 'http://h/v1/models?v=1')
    """
    return f"{base.rstrip('/')}/{path}" + (f"?{query}" if query else "")
