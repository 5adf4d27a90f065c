"""How states are written and read: this package beside npy, zarr, Hugging Face datasets and plain safetensors.

    python benchmarks/storage.py                     256 MiB, five rounds
    python benchmarks/storage.py --install build/storage-packages      first put zarr and datasets there

All ways hold the same states, two sites of float32, and every file is synced; ours also have row labels and a sha256.
*Writing* is one shard after the other from memory to the disk; *random rows* are 4,096 rows of one site in any order;
*scanning* sums a site from its first row to its last: from the system's cache, and from the disk itself (pages of the
files are dropped from the cache before).
Rates are in MiB of states a second; ways take turns within a round, and ratios are taken inside it.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from latentext.dataset.states import StatesWriter
from latentext.dataset.states_view import ShardParts, StatesView
from latentext.request import StateRows
from rounds import Row, measure, print_table, save

MEBIBYTE = 2**20
TEXT, SHARD, WIDTH, SITES = 128, 128, 1024, ("resid_post.1", "final_norm")
SITE = SITES[1]
RANDOM_ROWS = 4_096

Shards = list[list[StateRows]]


def made_shards(mebibytes: int) -> Shards:
    """Texts of states in memory, as an engine hands them over."""
    texts = mebibytes * MEBIBYTE // (TEXT * WIDTH * 4 * len(SITES))
    rng, position = np.random.default_rng(0), np.arange(TEXT, dtype=np.int32)

    def text(index: int) -> StateRows:
        tensors = {site: torch.from_numpy(rng.standard_normal((TEXT, WIDTH), np.float32)) for site in SITES}
        return StateRows(index, 0, position, position, position[::-1].copy(), tensors)

    return [[text(k) for k in range(start, min(start + SHARD, texts))] for start in range(0, texts, SHARD)]


def sync(folder: Path) -> None:
    """Bring every file of a folder to the disk: for writers that do not."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def write_plain(folder: Path, shards: Shards) -> None:
    """The least that can be done: all bytes into one file, in pieces of a mebibyte."""
    with (folder / "bytes").open("wb", buffering=0) as file:
        for text in itertools.chain(*shards):
            for tensor in text.tensors.values():
                data = tensor.numpy().reshape(-1).view(np.uint8).data
                for start in range(0, len(data), MEBIBYTE):
                    file.write(data[start : start + MEBIBYTE])
        os.fsync(file.fileno())


def write_ours(folder: Path, shards: Shards) -> tuple[ShardParts, ...]:
    written = []
    for number, texts in enumerate(shards):
        writer = StatesWriter(folder, number, dict.fromkeys(SITES, WIDTH), torch.float32)
        for text in texts:
            writer.add(text)
        parts = tuple((folder / entry.name, entry.rows) for entry in writer.close())
        written.append(ShardParts(number, texts[0].index, texts[-1].index + 1, parts))
    return tuple(written)


def _site(texts: list[StateRows], site: str) -> np.ndarray:
    return np.concatenate([text.tensors[site].numpy() for text in texts])


def write_npy(folder: Path, shards: Shards) -> None:
    for site in SITES:
        rows = sum(len(texts) for texts in shards) * TEXT
        array = np.lib.format.open_memmap(folder / f"{site}.npy", "w+", np.float32, (rows, WIDTH))
        for number, texts in enumerate(shards):
            array[number * SHARD * TEXT :][: len(texts) * TEXT] = _site(texts, site)
        array.flush()
    sync(folder)


def write_safetensors(folder: Path, shards: Shards) -> None:
    from safetensors.torch import save_file

    for number, texts in enumerate(shards):
        tensors = {site: torch.from_numpy(_site(texts, site)) for site in SITES}
        save_file(tensors, folder / f"{number:05d}.safetensors")
    sync(folder)


def write_zarr(folder: Path, shards: Shards) -> None:
    import zarr

    rows = sum(len(texts) for texts in shards) * TEXT
    group = zarr.open_group(str(folder), mode="w")
    for site in SITES:
        chunks = (TEXT, WIDTH)
        array = group.create_array(site, shape=(rows, WIDTH), chunks=chunks, dtype="float32", compressors=None)
        for number, texts in enumerate(shards):
            begin = number * SHARD * TEXT
            array[begin : begin + len(texts) * TEXT] = _site(texts, site)
    sync(folder)


def write_datasets(folder: Path, shards: Shards) -> None:
    import pyarrow as pa
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    features = Features({site: List(Value("float32"), length=WIDTH) for site in SITES})
    writer = ArrowWriter(features=features, path=str(folder / "data.arrow"))
    for texts in shards:
        columns = [pa.FixedSizeListArray.from_arrays(pa.array(_site(texts, site).reshape(-1)), WIDTH) for site in SITES]
        writer.write_table(pa.table(columns, names=list(SITES)))
    writer.finalize()
    sync(folder)


WRITERS: dict[str, Callable[[Path, Shards], object]] = {
    "plain sequential write": write_plain,
    "latentext": write_ours,
    "npy (memory-mapped)": write_npy,
    "safetensors save_file": write_safetensors,
    "zarr, uncompressed chunks of a text": write_zarr,
    "datasets (Arrow)": write_datasets,
}
NEEDS = {"zarr, uncompressed chunks of a text": "zarr", "datasets (Arrow)": "datasets"}


def compare_writing(folder: Path, shards: Shards, options: argparse.Namespace) -> list[Row]:
    places = itertools.count()

    def way(name: str) -> int:
        place = folder / f"written-{next(places)}"
        place.mkdir()
        WRITERS[name](place, shards)
        written.append(place)
        return options.mebibytes

    def clean() -> int:
        while written:
            shutil.rmtree(written.pop())
        return 1

    written: list[Path] = []
    ways = {name: functools.partial(way, name) for name in WRITERS if not _lacking(name)}
    rows = measure({**ways, "": clean}, options.rounds)[:-1]  # Removing files is no part of writing them.
    print_table(f"{options.mebibytes} MiB of states written and synced", rows, unit="MiB/s")
    return rows


def readers(folder: Path, shards: Shards) -> dict[str, tuple[Callable[[np.ndarray], object], Callable[[], float]]]:
    """For each format a way to take rows of one site, and one to sum it in blocks of a shard."""
    count = sum(len(texts) for texts in shards) * TEXT
    made = {}
    for name in WRITERS:
        if not _lacking(name):
            place = folder / name.split()[0]
            place.mkdir()
            made[name] = WRITERS[name](place, shards)
    blocks = [slice(start, min(start + SHARD * TEXT, count)) for start in range(0, count, SHARD * TEXT)]
    raw = folder / "raw"
    raw.write_bytes(b"".join(text.tensors[SITE].numpy().tobytes() for texts in shards for text in texts))
    sync(folder)

    def scan(read: Callable[[slice], np.ndarray]) -> float:
        return float(sum(read(block).sum() for block in blocks))

    parts = made["latentext"]
    assert isinstance(parts, tuple)
    view = StatesView(SITE, SITE, WIDTH, "float32", parts, lambda _shard: {})
    memmap = np.asarray(np.memmap(raw, np.float32, "r", shape=(count, WIDTH)))
    npy = np.asarray(np.load(folder / "npy" / f"{SITE}.npy", mmap_mode="r"))

    def tensors(index: slice | np.ndarray) -> np.ndarray:
        """`get_tensor` reads a whole tensor, whatever is wanted of it."""
        paths = sorted((folder / "safetensors").glob("*.safetensors"))
        if isinstance(index, slice):
            with safe_open(paths[index.start // (SHARD * TEXT)], "pt") as file:
                return file.get_tensor(SITE).numpy()
        found = np.empty((len(index), WIDTH), np.float32)
        for number, path in enumerate(paths):
            here = np.flatnonzero(index // (SHARD * TEXT) == number)
            with safe_open(path, "pt") as file:
                found[here] = file.get_tensor(SITE).numpy()[index[here] - number * SHARD * TEXT]
        return found

    by_part = [
        np.asarray(np.memmap(raw, np.float32, "r", b.start * WIDTH * 4, (b.stop - b.start, WIDTH))) for b in blocks
    ]

    def by_parts(index: slice | np.ndarray) -> np.ndarray:
        """What the same bytes give to plain NumPy where they lie in as many pieces as ours."""
        if isinstance(index, slice):
            return by_part[index.start // (SHARD * TEXT)]
        found = np.empty((len(index), WIDTH), np.float32)
        for number, part in enumerate(by_part):
            here = np.flatnonzero(index // (SHARD * TEXT) == number)
            found[here] = part[index[here] - number * SHARD * TEXT]
        return found

    found = {
        "raw np.memmap": (memmap.__getitem__, lambda: scan(memmap.__getitem__)),
        "raw np.memmap, one a part": (by_parts, lambda: scan(by_parts)),
        "latentext": (view.__getitem__, lambda: scan(view.__getitem__)),
        "npy (memory-mapped)": (npy.__getitem__, lambda: scan(npy.__getitem__)),
        "safetensors get_tensor": (tensors, lambda: scan(tensors)),
    }
    if not _lacking("zarr, uncompressed chunks of a text"):
        import zarr

        array = zarr.open_group(str(folder / "zarr,"), mode="r")[SITE]
        found["zarr"] = (lambda rows: array.oindex[rows], lambda: scan(lambda b: array[b]))
    if not _lacking("datasets (Arrow)"):
        from datasets import Dataset

        data = Dataset.from_file(str(folder / "datasets" / "data.arrow")).select_columns([SITE]).with_format("numpy")
        found["datasets"] = (lambda rows: data[rows][SITE], lambda: scan(lambda b: data[b][SITE]))
    return found


def forget_pages(folder: Path) -> None:
    """Drop the pages of all files below a folder from the system's cache: what is read next comes from the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def compare_reading(folder: Path, shards: Shards, options: argparse.Namespace) -> dict[str, list[Row]]:
    found = readers(folder, shards)
    count = sum(len(texts) for texts in shards) * TEXT
    rng = np.random.default_rng(1)
    order = [rng.integers(0, count, RANDOM_ROWS) for _ in range(options.rounds + 1)]
    expected = found["raw np.memmap"][0](order[0])
    for name, (take, _) in found.items():
        assert np.array_equal(take(order[0]), expected), name

    def random_rows(name: str, rounds: dict[str, int]) -> int:
        found[name][0](order[rounds[name]])
        rounds[name] += 1
        return RANDOM_ROWS

    rounds = dict.fromkeys(found, 0)
    tables = {
        f"{RANDOM_ROWS:,} random rows of one site, in the system's cache: rows a second": measure(
            {name: functools.partial(random_rows, name, rounds) for name in found}, options.rounds
        )
    }

    def disk() -> int:
        with (folder / "raw").open("rb", buffering=0) as file:
            while file.read(4 * MEBIBYTE):
                pass
        return options.mebibytes // len(SITES)

    def scan(name: str) -> int:
        found[name][1]()
        return options.mebibytes // len(SITES)

    scans: dict[str, Callable[[], int]] = {"plain sequential read": disk}
    scans |= {name: functools.partial(scan, name) for name in found}
    cold = {name: functools.partial(_cold, way, folder) for name, way in scans.items()}
    tables["a site summed from the disk: MiB a second"] = _without_forgetting(cold, options.rounds)
    tables["a site summed from the system's cache: MiB a second"] = measure(scans, options.rounds)
    for title, rows in tables.items():
        print_table(title, rows, unit=title.rpartition(": ")[2].replace(" a second", "/s"))
    return tables


def _cold(way: Callable[[], int], folder: Path) -> tuple[int, float]:
    import time

    forget_pages(folder)
    begun = time.perf_counter()
    done = way()
    return done, time.perf_counter() - begun


def _without_forgetting(ways: dict[str, Callable[[], tuple[int, float]]], rounds: int) -> list[Row]:
    """`rounds.measure`, but the time that it takes to drop pages is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            done, seconds = way()
            if number:
                rates[name].append(done / seconds)
    return [Row(name, values) for name, values in rates.items()]


def _lacking(name: str) -> bool:
    return name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--packages", type=Path, default=Path("build/storage-packages"), help="where zarr is looked for"
    )
    parser.add_argument("--install", type=Path, help="install zarr and datasets into this folder, and stop")
    parser.add_argument("--directory", type=Path, help="a folder on the disk that is to be measured")
    parser.add_argument("--json", type=Path, help="write all rates here")
    options = parser.parse_args()
    if options.install:
        command = [sys.executable, "-m", "pip", "install", "--target", str(options.install), "zarr", "datasets"]
        subprocess.run(command, check=True)
        return
    sys.path.append(str(options.packages))  # Behind our own: what both have is ours.
    for name in WRITERS:
        if _lacking(name):
            print(f"{name}: not installed (--install {options.packages})")
    shards = made_shards(options.mebibytes)
    folder = Path(tempfile.mkdtemp(prefix="storage-", dir=options.directory))
    try:
        tables = {"writing": compare_writing(folder, shards, options)}
        (folder / "reading").mkdir()
        save(options.json, tables | compare_reading(folder / "reading", shards, options))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
