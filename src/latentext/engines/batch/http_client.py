"""The HTTP client beneath the official one, for files and batches: answers bounded, without redirects or the key.

The official client reads an answer whole before anybody can look at its size. So the client that it is given reads, in
pieces and unpacked, and hands on what is within the limits. The content of a file alone goes through as a stream, since
whoever writes it to the disk counts its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentext.engines.server.answer_size import MOST_ANSWER_BYTES, MOST_ERROR_BYTES, TooLargeError
from latentext.engines.server.http_errors import one_kind_of_error, refuse_redirect
from latentext.engines.server.redaction import Redaction
from latentext.libraries.openai import transport

if TYPE_CHECKING:
    import httpx2

_OF_THE_FORM_SENT = ("content-encoding", "content-length", "transfer-encoding")


def guarded_client(redaction: Redaction, **options: Any) -> httpx2.Client:
    """An HTTP client for ``openai.OpenAI(http_client=…)``; options as those of its own.

    Raises, in requests:
        TooLargeError: an answer is beyond the limit. RedirectError: it is a redirect that is not followed.
    """
    import httpx2

    base: type[Any] = transport()

    class GuardedClient(base):  # type: ignore[misc]
        def send(self, request: httpx2.Request, *, stream: bool = False, **how: Any) -> httpx2.Response:
            with one_kind_of_error():
                response: httpx2.Response = super().send(request, stream=True, **how)
                if stream and response.is_success:
                    return response
                try:
                    content = redaction.of_bytes(_content(response))
                finally:
                    response.close()
            headers = [(k, v) for k, v in response.headers.multi_items() if k.lower() not in _OF_THE_FORM_SENT]
            return httpx2.Response(response.status_code, headers=headers, content=content, request=response.request)

        def __del__(self) -> None:
            if not self.is_closed:  # As the client that the official one makes for itself.
                self.close()

    return GuardedClient(event_hooks={"response": [refuse_redirect]}, **options)


def _content(response: httpx2.Response) -> bytes:
    most = MOST_ANSWER_BYTES if response.is_success else MOST_ERROR_BYTES
    pieces, size = [], 0
    for piece in response.iter_bytes():
        pieces.append(piece)
        if (size := size + len(piece)) > most:
            if response.is_success:
                raise TooLargeError(most, " for one answer")
            break
    return b"".join(pieces)[:most]
