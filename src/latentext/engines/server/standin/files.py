"""The files of the stand-in server: what is uploaded, what batches leave, kept in memory."""

from __future__ import annotations

import email.parser
import email.policy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class StoredFile:
    """One file: its bytes, and what the protocol says of it."""

    id: str
    name: str
    purpose: str
    content: bytes
    created_at: int

    def described(self) -> dict[str, Any]:
        """The file object of the protocol."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


@dataclass
class FileStore:
    """All files, by id, in the order in which they came."""

    files: dict[str, StoredFile] = field(default_factory=dict)
    uploads: int = 0
    deletions: int = 0
    _made: int = 0

    def add(self, name: str, purpose: str, content: bytes) -> StoredFile:
        """Keep a new file."""
        self._made += 1
        stored = StoredFile(f"file-{self._made:06d}", name, purpose, content, int(time.time()))
        self.files[stored.id] = stored
        return stored

    def upload(self, content_type: str, body: bytes) -> StoredFile:
        """Keep what a form upload holds.

        Raises:
            ValueError: the form has no file or no purpose.
        """
        fields = form_fields(content_type, body)
        if "file" not in fields or "purpose" not in fields:
            raise ValueError("a form with the fields file and purpose is needed")
        name, content = fields["file"]
        self.uploads += 1
        return self.add(name or "upload", fields["purpose"][1].decode(), content)

    def delete(self, file_id: str) -> None:
        """Forget a file."""
        del self.files[file_id]
        self.deletions += 1


def form_fields(content_type: str, body: bytes) -> Mapping[str, tuple[str | None, bytes]]:
    """The fields of a ``multipart/form-data`` body: name → (file name, bytes).

    Example:
        >>> body = b'--x\\r\\nContent-Disposition: form-data; name="purpose"\\r\\n\\r\\nbatch\\r\\n--x--\\r\\n'
        >>> form_fields("multipart/form-data; boundary=x", body)
        {'purpose': (None, b'batch')}
    """
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, tuple[str | None, bytes]] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str):
            payload = part.get_payload(decode=True)
            fields[name] = (part.get_filename(), payload if isinstance(payload, bytes) else b"")
    return fields
