"""From prompts to texts with one vector each: the function, the files it leaves, and what it says when it is done.

Everything is checked before the model is loaded. The work itself is an ordinary run into a dataset directory, so it
continues after a kill and is refused with other settings; the files that other packages read are exports of it.

    {save_name}_prompts.jsonl     the prompts, as the run reads them
    {save_name}_dataset/          the dataset: texts, token ids, states, what made them
    {save_name}.pkl               columns X (text), P (prompt), cut, and the input's other columns
    {save_name}_fidelity.csv      for repeats: how faithful each is
    {save_name}_segments.npz      with `segments`: the states at their ends
    {output_hidden_dir}/{prefix_hidden}{k}.pt
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError

from latentext.dataset import layout
from latentext.dataset.reader import Dataset, open_dataset
from latentext.engines.transformers.engine import TransformersEngine
from latentext.errors import ArgumentError
from latentext.prompts.tokenizer import load_tokenizer
from latentext.run.progress import Progress
from latentext.run.runner import RunSummary, make_dataset
from latentext.spec import Decoding, FileSource, ModelSpec, Pool, PromptSpec, Spec, StatesSpec
from latentext.states.sites import resolve_sites
from latentext.studies.represent.fidelity import Fidelity, fidelity_table
from latentext.studies.represent.files import (
    cut_texts,
    hidden_folder,
    one_token_texts,
    refuse_foreign_files,
    refuse_taken_place,
    text_frame,
    write_frame,
    write_segments,
    write_vectors,
)
from latentext.studies.represent.loading import model_and_engine
from latentext.studies.represent.options import decoding_options, prompt_options, system_text
from latentext.studies.represent.segments import Ends, segment_ends
from latentext.studies.represent.texts import Name, check_columns, check_ids, check_prompts, write_prompts

_SHOWN = 5
"""Ids that a warning names."""


@dataclass(frozen=True)
class Representation:
    """What `extract_and_save_hidden_states` made.

    Attributes:
        dataset: its directory, for `latentext.open_dataset`.
        frame: the pickled frame.
        hidden: the folder of each site and pooling, by ``site:pool``.
        failed: prompts that gave no text; their rows in the frame hold None and they have no ``.pt``.
        cut: ids of the texts that did not end by themselves: their vectors are of unfinished texts.
        system: what the model was told before each prompt.
        prompt_end: ids of the texts that ended at once: their vectors are the state at the end of the prompt.
        fidelity: for repeats, how faithful they are.
    """

    dataset: Path
    frame: Path
    hidden: dict[str, Path]
    texts: int
    failed: int
    cut: list[Name]
    system: str
    prompt_end: list[Name]
    fidelity: Fidelity | None
    run: RunSummary


def extract_and_save_hidden_states(
    prompts: Sequence[str],
    output_hidden_dir: str | Path,
    save_name: str | Path,
    tokenizer: Any,
    model: Any,
    task_type: str = "create",
    max_new_tokens: int = 1000,
    prefix_hidden: str = "hidden_",
    tokenizer_config: Mapping[str, Any] | None = None,
    model_config: Mapping[str, Any] | None = None,
    pooling: str | Sequence[str] = "last",
    *,
    ids: Iterable[Any] | None = None,
    columns: Mapping[str, Iterable[Any]] | None = None,
    sites: str | int | Sequence[str | int] = "final_norm",
    verify: bool = True,
    segments: Literal["sentences"] | Ends | Mapping[Any, Sequence[int]] | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Representation:
    """Write a text for every prompt, or repeat it, and save one vector a text from inside the model.

    The same call continues an interrupted run; a call with other settings into the same files is refused.

    Args:
        prompts: for ``task_type="repeat"`` the texts to be repeated.
        output_hidden_dir: where ``{prefix_hidden}{k}.pt`` are written, a tensor [1, width] each.
        save_name: beginning of the names of all other files; ``{save_name}.pkl`` holds the texts.
        tokenizer, model: loaded objects of transformers, or names.
        task_type: ``create``, ``repeat``, or a system text of your own.
        tokenizer_config: `add_generation_prompt`, `remove_date_lines`, `use_chat_template`.
        model_config: penalties and ends of a text, see `latentext.studies.represent.options`. Decoding is greedy.
        pooling: ``last``, ``mean``, ``max``, ``first``, ``entropy_mean``, or ``none`` for a row per token; several at
            once, like several `sites`, go to folders of their own below `output_hidden_dir`.
        ids: names of the prompts (such as a data frame's index), instead of their numbers, for files and rows.
        columns: other columns of the input by name, one value per prompt (a data frame will do): kept in the frame.
        sites: where states are read, see docs/architecture.md.
        verify: check repeats in one pass instead of writing them token by token; the texts are the same.
        segments: with ``pooling="none"``, also keep the states at the ends of segments: of ``"sentences"``, of what a
            function from a text to ascending numbers of characters says, or of such numbers by id; see `Segments`.
        retry_failed: write the texts that failed once more.
        progress: who is told; nobody by default.

    Raises:
        ArgumentError: an argument that cannot be used; nothing was started.
        SpecError: the files hold another run.

    Warns:
        UserWarning: prompts that failed, texts that were cut or ended at once, repeats that are not exact, a task's
            name that is nearly right.

    Example:
        >>> extract_and_save_hidden_states(                                              # doctest: +SKIP
        ...     ["Write a biography of Jane Smith."], "hidden", "texts", "tiny", "tiny", max_new_tokens=200)
    """
    texts = check_prompts(prompts)
    names, others = check_ids(ids, len(texts)), check_columns(columns, len(texts))
    paths = _Paths.of(save_name, output_hidden_dir, prefix_hidden)
    ends, system = segment_ends(segments, pooling), system_text(task_type)
    model_spec, engine = model_and_engine(model, tokenizer)
    spec = represent_spec(
        model_spec,
        paths.prompts,
        task_type,
        max_new_tokens,
        tokenizer_config,
        model_config,
        pooling,
        sites=sites,
        verify=verify,
    )
    _refuse_what_is_there(paths, prefix_hidden, names, spec)
    write_prompts(paths.prompts, texts, names)
    run = make_dataset(spec, paths.dataset, engine=engine, retry_failed=retry_failed, progress=progress)
    return _export(
        paths,
        prefix_hidden,
        spec,
        run,
        texts,
        names,
        others,
        engine,
        ends,
        system=system,
        repeated=task_type == "repeat",
    )


def represent_spec(
    model: ModelSpec,
    prompts: Path,
    task_type: str = "create",
    max_new_tokens: int = 1000,
    tokenizer_config: Mapping[str, Any] | None = None,
    model_config: Mapping[str, Any] | None = None,
    pooling: str | Sequence[str] = "last",
    *,
    sites: str | int | Sequence[str | int] = "final_norm",
    verify: bool = True,
) -> Spec:
    """The run of `extract_and_save_hidden_states`, whose arguments and errors these are; `prompts` is a file that
    `latentext.studies.represent.texts.write_prompts` wrote."""
    return _spec(
        model,
        prompts,
        system_text(task_type),
        prompt_options(tokenizer_config),
        {"max_new_tokens": max_new_tokens, **decoding_options(model_config)},
        StatesSpec(sites=_sites(sites), pool=_pools(pooling)),
        expected=task_type == "repeat" and verify,
    )


@dataclass(frozen=True)
class _Paths:
    prompts: Path
    dataset: Path
    frame: Path
    fidelity: Path
    segments: Path
    hidden: Path

    @classmethod
    def of(cls, save_name: str | Path, output_hidden_dir: str | Path, prefix_hidden: str) -> _Paths:
        if not Path(save_name).name or str(save_name).endswith(("/", os.sep)):
            raise ArgumentError(f"save_name is {str(save_name)!r}", remedy="give the beginning of a file name")
        if Path(prefix_hidden).name != prefix_hidden and prefix_hidden:
            raise ArgumentError(f"prefix_hidden is {prefix_hidden!r}", remedy="put folders into output_hidden_dir")
        stem = str(save_name).removesuffix(".pkl")
        return cls(
            prompts=Path(f"{stem}_prompts.jsonl"),
            dataset=Path(f"{stem}_dataset"),
            frame=Path(f"{stem}.pkl"),
            fidelity=Path(f"{stem}_fidelity.csv"),
            segments=Path(f"{stem}_segments.npz"),
            hidden=Path(output_hidden_dir),
        )


def _spec(
    model: ModelSpec,
    prompts: Path,
    system: str,
    chat: Mapping[str, bool],
    decoding: dict[str, Any],
    states: StatesSpec,
    *,
    expected: bool,
) -> Spec:
    """The run in the words of every other run."""
    if "entropy_mean" in states.pool:
        decoding["entropy"] = True
    source = FileSource(path=str(prompts.resolve()), format="jsonl")
    # Braces in a system text are gaps of a template, and a user's own text has none.
    template = system.replace("{", "{{").replace("}", "}}")
    try:
        plain = Decoding(**decoding)
    except ValidationError as error:
        finding = error.errors()[0]
        name = ".".join(map(str, finding["loc"])) or "model_config"
        raise ArgumentError(f"{name}: {finding['msg'].removeprefix('Value error, ')}", remedy="change it") from None
    if plain.given:
        raise ArgumentError("max_new_tokens: 0 would write no texts", remedy="give 1 or more")
    if expected:
        # With penalties the model's first choice does not decide a text, and it is written token by token.
        with suppress(ValidationError):
            plain = Decoding(**decoding, expect="prompt")
    return Spec(
        name="represent",
        model=model,
        prompts=PromptSpec(file=source, system=template, **chat),
        decoding=plain,
        states=states,
    )


def _pools(pooling: str | Sequence[str]) -> tuple[Pool, ...]:
    wanted: list[Any] = [pooling] if isinstance(pooling, str) else list(pooling)
    known = get_args(Pool)
    for name in wanted:
        if name not in known:
            raise ArgumentError(f"pooling {name!r} is not known", remedy=f"poolings are: {', '.join(known)}")
    if not wanted or ("none" in wanted and len(wanted) > 1):
        raise ArgumentError(f"pooling is {pooling!r}", remedy="give some poolings, or none alone for a row per token")
    return tuple(dict.fromkeys(wanted))


def _sites(sites: str | int | Sequence[str | int]) -> tuple[str | int, ...]:
    wanted = (sites,) if isinstance(sites, str | int) else tuple(sites)
    if not wanted:
        raise ArgumentError("sites is empty", remedy="use final_norm")
    return wanted


def _refuse_what_is_there(paths: _Paths, prefix: str, names: Sequence[Name], spec: Spec) -> None:
    """Raise if files of another run stand where this one would write, before anything is generated."""
    ours = (paths.dataset / layout.SPEC).exists()
    for path in (paths.frame, paths.fidelity, paths.segments):
        refuse_taken_place(path, ours=ours)
    assert spec.states is not None
    several = len(spec.states.pool) * len(spec.states.sites) > 1 or "all" in spec.states.sites
    refuse_foreign_files(paths.hidden, prefix, names, spec.states.pool if several else (), ours=ours)


def _export(
    paths: _Paths,
    prefix: str,
    spec: Spec,
    run: RunSummary,
    prompts: Sequence[str],
    names: Sequence[Name],
    columns: Mapping[str, Sequence[Any]],
    engine: TransformersEngine | None,
    ends: Ends | Mapping[Any, Sequence[int]] | None,
    *,
    system: str,
    repeated: bool,
) -> Representation:
    """Write the files that other packages read, and say what deserves attention."""
    dataset = open_dataset(paths.dataset)
    hidden, texts = {}, 0
    kept = _kept(spec, dataset)
    for site, pool in kept:
        folder = hidden_folder(paths.hidden, site, pool, alone=len(kept) == 1)
        texts = write_vectors(dataset, folder, prefix, names, site, pool)
        hidden[f"{site}:{pool}"] = folder
    write_frame(text_frame(dataset, prompts, columns), paths.frame)
    failed = len(prompts) - texts
    if failed:
        reasons = paths.dataset / layout.FAILURES
        warnings.warn(f"{failed} of {len(prompts)} prompts gave no text; the reasons are in {reasons}", stacklevel=3)
    cut = [names[index] for index in cut_texts(dataset) if index < len(names)]
    if cut:
        what = f"{len(cut)} of {texts} texts were cut at {spec.decoding.max_new_tokens} tokens or the model's context"
        what += f" ({_some(cut)}): their vectors are of unfinished texts, which column cut of {paths.frame.name} marks"
        warnings.warn(what, stacklevel=3)
    prompt_end = [names[index] for index in one_token_texts(dataset)]
    if prompt_end and set(spec.states.pool if spec.states else ()) - {"first", "none"}:
        what = f"{len(prompt_end)} of {texts} texts ended at once ({_some(prompt_end)})"
        warnings.warn(f"{what}: their vectors are the state at the end of the prompt", stacklevel=3)
    tokenizer = engine.tokenizer if engine else load_tokenizer(spec.model.name)
    if ends is not None:
        write_segments(dataset, tokenizer, ends, [site for site, _ in kept], paths.segments)
    fidelity = None
    if repeated:
        table, fidelity = fidelity_table(dataset, tokenizer, names)
        write_frame(table, paths.fidelity)
        if fidelity.warning:
            warnings.warn(fidelity.warning, stacklevel=3)
    return Representation(paths.dataset, paths.frame, hidden, texts, failed, cut, system, prompt_end, fidelity, run)


def _some(names: Sequence[Name]) -> str:
    return ", ".join(map(str, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")


def _kept(spec: Spec, dataset: Dataset) -> list[tuple[str, Pool]]:
    """The sites, by name, and poolings that this run asks for."""
    assert spec.states is not None
    num_blocks = min(capture.num_layers for capture in dataset.captures.values()) - 1
    return [(site, pool) for site in resolve_sites(spec.states.sites, num_blocks) for pool in spec.states.pool]
