"""Verification with the model: prompts encoded again, and a random sample of states computed again from the recorded
ids.

Checksums tell that files are what was written; this tells that what was written is right. A state shifted by a row,
two sites exchanged, a BOS doubled or missing, the last block taken before instead of after the norm: each gives other
numbers here.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from latentext.dataset import layout
from latentext.dataset.captures import labels
from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.receipts import read_receipt
from latentext.dataset.records import read_records
from latentext.dataset.restoring import requests_of, states_of
from latentext.dataset.stages import StatesStage
from latentext.dataset.verify import verify_files
from latentext.dataset.verify_rows import Finding
from latentext.engines.opening import local_model, model_facts
from latentext.engines.transformers.loaded import LoadedModel
from latentext.engines.transformers.loading import load_model
from latentext.models.deciding import FURTHER_FACTS
from latentext.models.resolve import model_identity, resolve_model
from latentext.phases import Phase, phase
from latentext.plan.comparing import unplanned_rows
from latentext.prompts.chat import ChatFormat
from latentext.prompts.opening_tokens import added_bos
from latentext.prompts.tokenizer import load_tokenizer, tokenizer_fingerprint
from latentext.request import StateRows
from latentext.run.captures import states_spec
from latentext.run.provenance import IDENTITY_VERSION, differing_facts, read_provenance
from latentext.run.replaying import written_texts
from latentext.spec import ModelSpec, Spec
from latentext.spec.files import resolve_inputs
from latentext.states.replay import WrittenText, replay_with_scales
from latentext.states.rounding import ROW_SHARE, TOLERANCE, parts_of_scale, rows_beyond_rounding
from latentext.storage.lease import holders

Chosen = dict[tuple[str, int], set[tuple[int, int]]]
"""The texts to look at, as (index, sample), by their records stage and shard."""


def verify(directory: str | Path, sample: int = 32, *, trust_remote_code: bool = False) -> list[Finding]:
    """Check a dataset: its files, its rows against its token ids, and `sample` texts against the model.

    Where a run is at work, what it has finished is checked; shards under way and views are not.

    Args:
        sample: texts whose prompts are encoded again and whose states are computed again; 0 needs no model.
        trust_remote_code: let the model's own Python code run where the dataset's spec asks for it.

    Returns:
        What is wrong, file by file; nothing when all is well.

    Raises:
        DatasetError: there is no dataset.
    """
    dataset = open_dataset(directory, trust_remote_code=trust_remote_code)
    root = dataset.directory
    spec = resolve_inputs(dataset.spec, root)
    source, held = local_model(spec.model), holders(root)
    if sample == 0 or source is None:  # Without a model on this machine the files are all there is to look at.
        with phase("checking every file"):
            return verify_files(root, held=held) or list(_rows(root))
    tokenizer = load_tokenizer(*_tokenizer_place(source))
    bos, required = tokenizer.bos_token_id, added_bos(tokenizer) is not None
    with phase("checking every file"):
        findings = verify_files(root, bos_token_id=bos, bos_required=required, held=held)
    # What follows reads the files, so it makes sense of sound ones only, and of the model that wrote them.
    if findings := findings or [*_rows(root), *_identity(root, spec.model, tokenizer)]:
        return findings
    chosen = _choose(dataset, sample)
    with phase("encoding prompts again"):
        findings = list(_prompts(dataset, spec, tokenizer, chosen))
    if dataset.captures and chosen:
        findings += _states(dataset, source, chosen)
    return findings


def _tokenizer_place(model: ModelSpec) -> tuple[str, str | None, bool]:
    source = resolve_model(model.name, model.revision)
    return source.path_or_id, source.revision, model.trust_remote_code


def _rows(root: Path) -> Iterator[Finding]:
    """Every text stands beside the columns of the row that was planned for it."""
    for name, index in unplanned_rows(root):
        yield Finding(name, f"request {index}: its variables or messages are not those of the row that was planned")


def _identity(root: Path, model: ModelSpec, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    provenance = read_provenance(root)
    if provenance is None:
        yield Finding(layout.PROVENANCE, "missing")
        return
    recorded = provenance.identity
    if recorded["model"] != model_identity(model):
        yield Finding(layout.PROVENANCE, f"the model {model.name} has other weights now than when the texts were made")
    if recorded["tokenizer"] != tokenizer_fingerprint(tokenizer):
        yield Finding(layout.PROVENANCE, f"the tokenizer of {model.name} is another now than when the texts were made")
    now = {"version": IDENTITY_VERSION, **model_facts(model).further}
    held = {name: recorded[name] for name in ("version", *FURTHER_FACTS) if name in recorded}
    for name in differing_facts(held, now):
        what = f"{name} of {model.name} was {recorded.get(name)} when the texts were made and is {now.get(name)}"
        yield Finding(layout.PROVENANCE, what)


def _choose(dataset: Dataset, sample: int) -> Chosen:
    """A random but repeatable sample of texts, by (records stage, shard)."""
    places = [
        (stage, number, index, s)
        for stage in layout.list_stages(dataset.directory, "records")
        for number in layout.list_shards(dataset.directory, stage)
        for index, s in _texts_in(dataset.directory, stage, number)
    ]
    chosen = defaultdict(set)
    for stage, number, index, s in random.Random(0).sample(places, min(sample, len(places))):
        chosen[stage, number].add((index, s))
    return dict(chosen)


def _texts_in(root: Path, stage: str, shard_number: int) -> list[tuple[int, int]]:
    table = read_records([root / stage / layout.table_name(shard_number)], ["index", "sample"])
    return list(zip(table["index"].to_pylist(), table["sample"].to_pylist(), strict=True))


def _prompts(dataset: Dataset, spec: Spec, tokenizer: PreTrainedTokenizerBase, chosen: Chosen) -> Iterator[Finding]:
    """The recorded messages, rendered and encoded again, give the recorded ids: one BOS, the same template."""
    provenance = read_provenance(dataset.directory)
    begun_by = None if provenance is None else provenance.versions.get("latentext")
    chat = ChatFormat.of_run(spec, begun_by)
    for (stage, number), texts in sorted(chosen.items()):
        name = f"{stage}/{layout.table_name(number)}"
        for request in requests_of(read_records([dataset.directory / name])):
            if not any(index == request.index for index, _ in texts):
                continue
            expected = chat.encode(tokenizer, chat.render(tokenizer, request.messages))
            if list(request.prompt_token_ids) != expected:
                yield Finding(name, f"request {request.index}: its prompt ids are not those of its messages")


def _states(dataset: Dataset, model: ModelSpec, chosen: Chosen) -> Iterator[Finding]:
    provenance = read_provenance(dataset.directory)
    assert provenance is not None
    torch.set_num_threads(provenance.threads)
    # In the dtype that the states were made in, which `auto` need not mean on this machine.
    loaded = load_model(model.model_copy(update={"dtype": provenance.identity["model.dtype"]}))
    texts_in_all = len(dataset.captures) * sum(map(len, chosen.values()))
    with phase("computing states again", texts_in_all) as computing:
        yield from _compared(dataset, chosen, loaded, computing)


def _compared(dataset: Dataset, chosen: Chosen, loaded: LoadedModel, computing: Phase) -> Iterator[Finding]:
    for name, capture in dataset.captures.items():
        stage = layout.states_folder(name)
        for (records_stage, number), texts in sorted(chosen.items()):
            samples = layout.samples_of(records_stage)
            if capture.samples != (samples.start, samples.stop) or number not in layout.list_shards(
                dataset.directory, stage
            ):
                continue
            receipt = read_receipt(dataset.directory / stage / layout.receipt_name(number))
            wanted = texts - {(failure.index, failure.sample) for failure in receipt.failures}
            written = [
                t for t in written_texts(dataset.directory, records_stage, number) if (t.index, t.sample) in wanted
            ]
            yield from _compare(dataset.directory, stage, number, capture, written, loaded)
            computing.moved(len(texts))


def _compare(
    root: Path, stage: str, number: int, capture: StatesStage, written: list[WrittenText], loaded: LoadedModel
) -> Iterator[Finding]:
    called = labels({stage: capture})
    expected = {
        (rows.index, rows.sample): (rows, scales)
        for rows, scales in replay_with_scales(
            loaded.layout, written, states_spec(capture), capture.sites, dtype=getattr(torch, capture.dtype)
        )
    }
    for rows in states_of(root, stage, number, tuple(capture.widths)):
        if (found := expected.pop((rows.index, rows.sample), None)) is None:
            continue
        again, scales = found
        for tensor in capture.widths:
            if (why := difference(rows, again, scales[tensor], tensor, loaded.dtype)) is not None:
                layer = called[tensor.split(":")[0]].split(", ")[0]
                what = f"request {rows.index}, sample {rows.sample}: {layer}, {why}"
                yield Finding(f"{stage}, shard {number}", what)
    for index, sample in expected:
        yield Finding(f"{stage}, shard {number}", f"request {index}, sample {sample} has no states")


def difference(
    stored: StateRows, again: StateRows, scale: torch.Tensor, tensor: str, model_dtype: torch.dtype
) -> str | None:
    """Why stored rows are not what the model gives, or None where every row is within rounding.

    Args:
        scale: of each component (`latentext.states.rounding`), [rows, width].
    """
    found, expected = stored.tensors[tensor], again.tensors[tensor]
    if found.shape != expected.shape:
        return f"{tensor} has {len(found)} rows, expected {len(expected)}"
    parts = parts_of_scale(found, expected, scale)
    wrong = rows_beyond_rounding(parts, model_dtype, found.dtype)
    if not wrong.any():
        return None
    row = int(torch.where(wrong, parts.amax(-1), -1.0).argmax())
    component, tolerance = int(parts[row].argmax()), TOLERANCE[model_dtype]
    off = float((found[row, component].float() - expected[row, component].float()).abs())
    part, most, of_what = float(parts[row, component]), tolerance, "its scale"
    if part <= most:
        part, most = float(parts[row].square().mean().sqrt()), ROW_SHARE * tolerance
        of_what = "its scale over all components"
    return (
        f"{tensor} at position {int(stored.position[row])} is off by {off:.3g} in component {component} when computed "
        f"again: {part:.2g} of {of_what}, where rounding gives {most:.2g} at most; "
        f"{int(wrong.sum())} of {len(parts)} rows differ"
    )
