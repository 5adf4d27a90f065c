"""The two folders of a batch run: request files and ledger in one, what came back in the other.

One process at a time changes them: two that submit at once would both find a batch unsent. A lock of the operating
system goes away with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from latentext.engines.batch.ledger import NAME, BatchPart, Ledger, read_ledger, write_ledger
from latentext.errors import DatasetError, SpecError
from latentext.storage import filesystem
from latentext.storage.atomic import sweep

_LOCK = ".batch.lock"


class BusyError(DatasetError):
    """Another process works on the same batches."""


@dataclass(frozen=True)
class BatchWorkspace:
    """Where a batch run lives.

    Example:
        >>> place = BatchWorkspace(Path("requests/refusal"), Path("batch_outputs/refusal"))
        >>> str(place.request_file(3)), str(place.output_file(3))
        ('requests/refusal/request_batch3.jsonl', 'batch_outputs/refusal/output_batch3.jsonl')
    """

    requests: Path
    outputs: Path

    def request_file(self, number: int) -> Path:
        return self.requests / f"request_batch{number}.jsonl"

    def output_file(self, number: int) -> Path:
        return self.outputs / f"output_batch{number}.jsonl"

    def error_file(self, number: int) -> Path:
        return self.outputs / f"error_batch{number}.jsonl"

    def ledger(self) -> Ledger:
        """What is known of the batches.

        Raises:
            SpecError: there are none here. DatasetError: the file is damaged.
        """
        ledger = read_ledger(self.requests)
        if ledger is None:
            raise SpecError(f"holds no {NAME}", where=str(self.requests), remedy="begin with latentext batch create")
        return ledger

    def save(self, ledger: Ledger) -> Ledger:
        """Bring the ledger to the disk, and give it back."""
        write_ledger(self.requests, ledger)
        return ledger

    def save_part(self, ledger: Ledger, part: BatchPart) -> Ledger:
        """Bring one changed part to the disk."""
        return self.save(ledger.with_part(part))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that works here.

        Raises:
            BusyError: another one does.
        """
        filesystem.make_folder(self.requests)
        descriptor = os.open(self.requests / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BusyError(
                    "another command is at work on these batches", where=str(self.requests), remedy="wait for its end"
                ) from error
            for folder in (self.requests, self.outputs):
                sweep(folder)
            yield
        finally:
            os.close(descriptor)
