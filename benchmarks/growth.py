"""What the pipeline costs as a dataset grows: everything but the model, at a thousand to a million texts.

    python benchmarks/growth.py --build DIR --counts 1000,10000,100000     make the datasets
    python benchmarks/growth.py --fill DIR                                 make one of a million quickly (see below)
    python benchmarks/growth.py --resume DIR                               continue each, and ask for its status

The model is replaced by a generator of synthetic completions: four tokens each, one site of states 64 wide. Plan, keys,
records, states, receipts, leases, syncs and views are those of any run. Every measurement is a process of its own.

`--build` prints tokens a second, processor time and peak memory of a whole run. `--resume` takes the receipts of the
last eight shards away, so that 1,024 texts are to be made again beside all that are there, and prints how long it takes
from the call to the first text, the rate from then on, and `latentext status`.

`--fill` makes the plan of a million texts and its first shard as any run does; the files of that shard then stand, with
receipts of their own, in the places of all others. What a run sees of finished shards is the same: a continued run
reads receipts and sizes. (`--build` with a million takes eight to ten minutes.)
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from latentext.dataset import layout
from latentext.dataset.receipts import read_receipt, write_receipt
from latentext.engines.engine import Capture, Generated
from latentext.engines.transformers.engine import TransformersEngine
from latentext.engines.transformers.loading import load_model
from latentext.models.resolve import resolve_model
from latentext.request import Completion, Failure, Request
from latentext.run.runner import make_dataset
from latentext.run.status import status
from latentext.spec import Decoding, ModelSpec, Spec
from latentext.spec.files import load_spec
from latentext.states.rows import label_rows, row_positions

TOKENS, WIDTH, SHARD, AGAIN = 4, 64, 128, 8


class Synthetic(TransformersEngine):
    """Gives four tokens for every prompt, and the same states for all; notes when it was first asked."""

    first_asked = 0.0
    one_shard = False
    """Whether the run is to be interrupted after its first shard."""

    def generate(
        self,
        requests: Sequence[Request],
        samples: range,
        decoding: Decoding,
        seed: int,
        *,
        capture: Capture | None = None,
        slots: int | None = None,
        under_way: Callable[[int], None] | None = None,
    ) -> Generator[Generated | Failure, None, None]:
        if self.first_asked and self.one_shard:
            raise KeyboardInterrupt
        self.first_asked = self.first_asked or time.perf_counter()
        assert capture is not None
        states = torch.linspace(-1, 1, TOKENS * WIDTH).reshape(TOKENS, WIDTH)
        tensors = dict.fromkeys(capture.sites, states)
        for request in requests:
            ids = [5 + (request.index + k) % 1000 for k in range(TOKENS)]
            completion = Completion(request.index, 0, "made up", ids, "stop")
            positions = row_positions("generated", len(request.prompt_token_ids), TOKENS)
            rows = label_rows(request.index, 0, positions, request.prompt_token_ids, ids, tensors)
            yield Generated(completion, rows)


def narrow_model(folder: Path) -> str:
    """A model 64 wide with random weights and the tokenizer of `tiny`; only its facts matter here."""
    if not (folder / "config.json").exists():
        tiny = Path(resolve_model("tiny").path_or_id)
        config = AutoConfig.from_pretrained(tiny)
        config.update({"hidden_size": WIDTH, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32})
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            (folder / name).write_bytes((tiny / name).read_bytes())
    return str(folder)


def spec_of(model: str, count: int) -> Spec:
    """`count` prompts that differ."""
    return load_spec(
        {
            "name": "growth",
            "model": {"name": model, "threads": 1},
            "prompts": {"template": "Say {n} words", "grid": {"n": {"range": [0, count]}}, "use_chat_template": False},
            "decoding": {"max_new_tokens": TOKENS},
            "states": {"sites": ["final_norm"]},
            "shard_size": SHARD,
        }
    )


def forget_last(root: Path) -> None:
    """Take away the receipts of the last shards: they are to be computed again."""
    for stage in (*layout.list_stages(root, "records"), *layout.list_stages(root, "states")):
        for number in layout.list_shards(root, stage)[-AGAIN:]:
            (root / stage / layout.receipt_name(number)).unlink()


def run(folder: Path, count: int, profile: Path | None) -> dict[str, float]:
    """Make or continue the dataset of this many texts in this process."""
    model = narrow_model(folder / "model")
    engine, spec = Synthetic(load_model(ModelSpec(name=model))), spec_of(model, count)
    root = folder / str(count)
    begun, processor = time.perf_counter(), time.process_time()
    if profile:
        with cProfile.Profile() as profiler:
            summary = make_dataset(spec, root, engine=engine)
        profiler.dump_stats(profile)
    else:
        summary = make_dataset(spec, root, engine=engine)
    ended = time.perf_counter()
    assert summary.accepted == count
    return {
        "start": engine.first_asked - begun,
        "seconds": ended - engine.first_asked,
        "tokens": summary.tokens,
        "processor": time.process_time() - processor,
        "peak": int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024,
    }


def fill(folder: Path, count: int) -> None:
    """A dataset of this many texts whose shards are all the first one but for the last few, which are left to do."""
    model = narrow_model(folder / "model")
    engine = Synthetic(load_model(ModelSpec(name=model)))
    engine.one_shard, root = True, folder / str(count)
    with suppress(KeyboardInterrupt):
        make_dataset(spec_of(model, count), root, engine=engine)
    os.fsync = lambda _descriptor: None  # What stands for other files need not outlive a power cut.
    for stage in (*layout.list_stages(root, "records"), *layout.list_stages(root, "states")):
        first = read_receipt(root / stage / layout.receipt_name(0))
        for number in range(1, -(-count // SHARD) - AGAIN):
            files = [entry.model_copy(update={"name": f"{number:05d}{entry.name[5:]}"}) for entry in first.files]
            for entry, file in zip(first.files, files, strict=True):
                os.link(root / stage / entry.name, root / stage / file.name)
            write_receipt(
                root / stage / layout.receipt_name(number),
                stage=stage,
                shard=number,
                start=number * SHARD,
                stop=(number + 1) * SHARD,
                files=files,
                upstream={name.replace("00000.", f"{number:05d}."): sha for name, sha in first.upstream.items()},
                how=first.how,
                counts=first.counts,
            )


def told(root: Path) -> dict[str, float]:
    """How long `status` takes in this process."""
    begun = time.perf_counter()
    text = str(status(root))
    assert "shards" in text, text
    return {"status": time.perf_counter() - begun}


def in_a_process(folder: Path, count: int, *options: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(folder), "--counts", str(count), *options]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def build(folder: Path, counts: list[int]) -> None:
    print(f"{'texts':>10} {'tokens/s':>10} {'ms of processor a text':>24} {'peak MiB':>10}   of a whole run")
    for count in counts:
        made = in_a_process(folder, count)
        seconds = made["start"] + made["seconds"]
        rate, each = made["tokens"] / seconds, 1000 * made["processor"] / count
        print(f"{count:>10,} {rate:>10,.0f} {each:>24.2f} {made['peak']:>10,.0f}", flush=True)


def resume(folder: Path, counts: list[int], rounds: int) -> None:
    """The same rest made again at every size, the sizes in turn."""
    found: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            forget_last(folder / str(count))
            found[count].append(in_a_process(folder, count) | in_a_process(folder, count, "--status"))
    print(f"{'texts':>10} {'start s':>16} {'tokens/s':>24} {'status s':>16} {'peak MiB':>10}   medians (least … most)")
    for count, rows in found.items():
        shown = []
        for name, form in (("start", ".2f"), ("rate", ",.0f"), ("status", ".3f")):
            values = sorted(r["tokens"] / r["seconds"] if name == "rate" else r[name] for r in rows)
            shown.append(f"{values[len(values) // 2]:{form}} ({values[0]:{form}} … {values[-1]:{form}})")
        print(f"{count:>10,} {'  '.join(shown)}  {max(r['peak'] for r in rows):>8,.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, metavar="DIR")
    parser.add_argument("--fill", type=Path, metavar="DIR")
    parser.add_argument("--resume", type=Path, metavar="DIR")
    parser.add_argument("--counts", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--status", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--profile", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    counts = options.counts or [1_000, 10_000, 100_000, 1_000_000]
    if options.one:
        (count,) = counts
        print(
            json.dumps(told(options.one / str(count)) if options.status else run(options.one, count, options.profile))
        )
    elif options.fill:
        fill(options.fill, counts[-1])
    elif options.build:
        build(options.build, counts)
    elif options.resume:
        resume(options.resume, counts, options.rounds)
    else:
        parser.error("say --build DIR, --fill DIR or --resume DIR")


if __name__ == "__main__":
    main()
