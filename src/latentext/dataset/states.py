"""Writing hidden states: texts are added as their batches finish, parts go to the disk as they fill.

Memory holds the rows of one part and no second copy of them: a part is streamed column by column, site by site, into
its file while its sha256 is computed. Where a GPU would stand still meanwhile, threads do that, two parts at a time:
one sha256 is slower than a fast disk. All parts of a shard get their names together in `close`, so that states which
an earlier run left in place stay whole until new ones are complete.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from latentext.dataset import layout
from latentext.dataset.parts import ROW_COLUMNS, encode_header
from latentext.dataset.receipts import FileEntry
from latentext.errors import DatasetError
from latentext.request import StateRows
from latentext.spec import DType
from latentext.storage import filesystem
from latentext.storage.atomic import PendingFile

DTYPE_NAME: Mapping[torch.dtype, DType] = {
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}
"""Types in which states can be stored, and how the spec calls them."""


_PARTS_BEHIND = 2
"""Parts on their way to the disk while another is filled."""


class StatesWriter:
    """Writes the states of one shard into the folder of a capture.

    The rows of one text stay together in one part; inside a part texts are ordered by (index, sample). Which texts
    share a part depends on the order of `add`, so the same calls give the same bytes.

    Args:
        folder: the capture's folder, which exists (``root / states_folder(name)``).
        shard_number: the shard these states belong to.
        widths: length of a state by tensor name (a site, or ``site:pool``), in the order in which they are stored.
        dtype: float32, float16 or bfloat16; every tensor added must have it.
        part_bytes: a part is closed before it would grow beyond this, unless one text alone is larger.
        behind: write parts in threads, while more texts are added.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> writer = StatesWriter(folder, 0, {"final_norm": 4}, torch.float32)
        >>> column = np.arange(2)
        >>> writer.add(StateRows(0, 0, column, column, column, {"final_norm": torch.zeros(2, 4)}))
        >>> [(entry.name, entry.rows) for entry in writer.close()]
        [('00000-000.safetensors', 2)]
    """

    def __init__(
        self,
        folder: Path,
        shard_number: int,
        widths: Mapping[str, int],
        dtype: torch.dtype,
        part_bytes: int = 512 * 2**20,
        *,
        behind: bool = False,
    ):
        self._folder, self._shard = folder, shard_number
        self._widths, self._dtype, self._part_bytes = dict(widths), dtype, part_bytes
        self._row_bytes = sum(widths.values()) * dtype.itemsize + sum(
            4 + 4 * (k == "I64") for k in ROW_COLUMNS.values()
        )
        self._texts: list[StateRows] = []
        self._rows = 0
        self._parts: list[tuple[PendingFile, int]] = []
        self._threads = ThreadPoolExecutor(_PARTS_BEHIND, thread_name_prefix="latentext-states") if behind else None
        self._unwritten: deque[Future[None]] = deque()

    def add(self, text: StateRows) -> None:
        """Take the states of one text. Its tensors are kept, not copied, until the part is written: give them away.

        Raises:
            DatasetError: its columns and tensors do not have the same number of rows, its positions do not ascend, or
                a tensor is missing, not contiguous, of another width or type.
        """
        self._check(text)
        rows = len(text.position)
        if self._rows and (self._rows + rows) * self._row_bytes > self._part_bytes:
            self._end_part()
        self._texts.append(text)
        self._rows += rows

    def finish(self) -> None:
        """Bring all rows to the disk; the parts keep their temporary names until `close`."""
        if self._rows:
            self._end_part()
        self._wait_for_parts(0)
        self._stop_threads()

    def close(self) -> list[FileEntry]:
        """Finish, give all parts their names, and say what they are (in the order of their numbers)."""
        self.finish()
        entries = []
        for file, rows in self._parts:
            file.commit()
            entries.append(FileEntry(name=file.path.name, sha256=file.sha256, size=file.size, rows=rows))
        self._parts = []
        self._remove_parts_from(len(entries))
        return entries

    def abort(self) -> None:
        """Give up: remove the temporary files; nothing that stood under a final name is touched."""
        self._stop_threads()
        for file, _ in self._parts:
            file.discard()
        self._parts, self._texts, self._rows = [], [], 0

    def _end_part(self) -> None:
        texts = sorted(self._texts, key=lambda text: (text.index, text.sample))
        file = PendingFile(self._folder / layout.part_name(self._shard, len(self._parts)))
        self._parts.append((file, self._rows))
        file.open()
        if self._threads is None:
            self._write_part(file, texts, self._rows)
        else:
            self._wait_for_parts(_PARTS_BEHIND - 1)
            self._unwritten.append(self._threads.submit(self._write_part, file, texts, self._rows))
        self._texts, self._rows = [], 0

    def _wait_for_parts(self, most: int) -> None:
        """Until no more than so many parts are on their way; what went wrong with one is raised here."""
        while len(self._unwritten) > most:
            self._unwritten.popleft().result()

    def _stop_threads(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._unwritten.clear()

    def _write_part(self, file: PendingFile, texts: list[StateRows], rows: int) -> None:
        file.write(encode_header(rows, self._widths, DTYPE_NAME[self._dtype]))
        for name, kind in ROW_COLUMNS.items():
            for text in texts:
                column = np.broadcast_to(np.asarray(getattr(text, name)), len(text.position))
                file.write(column.astype("<i8" if kind == "I64" else "<i4").tobytes())
        for name in self._widths:
            for text in texts:
                file.write_unchanging(text.tensors[name].view(torch.uint8).numpy().data)
        file.finish()

    def _remove_parts_from(self, part_number: int) -> None:
        """Remove parts of an earlier, longer version of this shard: no receipt would describe them."""
        while (stale := self._folder / layout.part_name(self._shard, part_number)).exists():
            filesystem.remove(stale)
            part_number += 1

    def _check(self, text: StateRows) -> None:
        where = f"states of request {text.index}, sample {text.sample}"
        rows = len(text.position)
        if len(text.token_id) != rows or len(text.remaining) != rows:
            raise DatasetError(
                f"{rows} positions, {len(text.token_id)} tokens, {len(text.remaining)} counts", where=where
            )
        if np.any(np.diff(text.position) <= 0):
            raise DatasetError("positions do not ascend", where=where)
        if set(text.tensors) != set(self._widths):
            raise DatasetError(f"has {sorted(text.tensors)}, expected {sorted(self._widths)}", where=where)
        for name, width in self._widths.items():
            tensor = text.tensors[name]
            if tuple(tensor.shape) != (rows, width) or tensor.dtype != self._dtype or not tensor.is_contiguous():
                found = f"{tensor.dtype} {list(tensor.shape)}, contiguous: {tensor.is_contiguous()}"
                raise DatasetError(f"{name} is {found}; expected {self._dtype} {[rows, width]}", where=where)
