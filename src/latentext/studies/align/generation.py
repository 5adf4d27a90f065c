"""The class of MAP's `gendata`, over a dataset directory: texts of a base model, and texts drawn from it by λ.

Both methods make the same dataset, ``{save_directory}/{model}-{data}/``: the model's own texts are sample 0 of each
prompt, a draw by λ adds the samples and rewards that are missing and reads the bank. So a run that was interrupted is
continued by the same call, and every further λ over the same values costs a second. The JSON files are exports:

    {save_directory}/{model}-{data}.json                                    [{prompt, generated, perplexity}]
    {save_directory}/temp/{model}-{data}_lam={λ}_val={values}_{i}to{j}.json [{prompt, generated}]
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentext.dataset.outputs import checked_file
from latentext.dataset.reader import open_dataset
from latentext.engines.transformers.loading import choose_device
from latentext.errors import ArgumentError
from latentext.prompts.conversations import open_conversations
from latentext.prompts.corpora import CORPORA
from latentext.rewards.entries import BUILT_IN, parse_rewards
from latentext.run.part import ShardsHolding
from latentext.run.progress import NoProgress, Progress
from latentext.run.provenance import read_provenance
from latentext.run.runner import RunSummary, make_dataset
from latentext.run.workspace import PLAN
from latentext.spec import Decoding, FileSource, ModelSpec, PromptSpec, Spec
from latentext.spec.files import load_spec, resolve_inputs
from latentext.storage.atomic import temporary_folder
from latentext.studies.align import Diagnosis, diagnose, draw, tilt
from latentext.studies.align.arguments import parse_lambdas, parse_palette, parse_values
from latentext.studies.align.files import (
    TEXTS,
    check_not_taken,
    index_range,
    model_file_name,
    original_path,
    palette_stem,
    part_path,
    write_rows,
    write_texts,
)
from latentext.studies.align.text_bank import TextBank, open_bank, prompts_without_text
from latentext.studies.align.text_rows import Trim, chosen_texts, own_texts

BASE_MODELS: Mapping[str, str] = {
    "llama2_chat": "meta-llama/Llama-2-7b-chat-hf",
    "opt1.3b": "facebook/opt-1.3b",
    "gpt2": "openai-community/gpt2",
}
"""Short names of base models; every other name is a Hugging Face id, a folder, or ``tiny``."""

MAP_VALUES = ("humor", "gpt2-helpful", "gpt2-harmless", "diversity", "coherence", "perplexity")
"""What "all" stands for: MAP's six values, in the order of its published λ."""

OWN_SCORE = "perplexity-full-text"
"""The reward in the column `perplexity` of the model's own texts, as MAP's package computes it."""

PROMPTS_A_SHARD = 32


@dataclass(frozen=True)
class Sampled:
    """What was drawn.

    Attributes:
        path: the file of texts.
        texts: how many.
        skipped: the prompts that have no text, with the reason.
        diagnosis: what λ did, with warnings where it did too much.
        run: the making of the bank.
        warnings: what else should be known, in lines.
    """

    path: Path
    texts: int
    skipped: Mapping[int, str]
    diagnosis: Diagnosis
    run: RunSummary
    warnings: Sequence[str]


class TextGeneration:
    """Continue prompts by a base model, and draw continuations from p(y|x)·exp(λ·r).

    Args:
        basemodel_name: a Hugging Face id, a folder, ``tiny``, or a short name (see `BASE_MODELS`).
        data_name: "Anthropic-harmless" or "Imdb"; any name for prompts of your own.
        save_directory: where the dataset and its JSON files go.
        prompts: prompts of your own, as a spec's `prompts`; or a file of them, of the named set if `data_name` is one.
        rewards: rewards of your own, as a spec's `rewards`; `value_list` then knows them by name.
        seed: of generation and of draws.
        top_k, max_new_tokens, temperature: how the base model is sampled.
        trim: ``sentence`` cuts texts back to their last full sentence.
        full_names: names and rows carry λ exactly instead of to three decimals.
        device: where the model runs; by default the first of cuda, mps, cpu that is there.
        progress: who is told; nobody by default.

    Attributes:
        device: such as "cuda".
        basemodel_filename: the last part of the base model's name, which begins the names of files.
        file_path: of the model's own texts.
        dataset: the dataset directory.
        generation_config: the same settings as transformers takes them.

    Example:
        >>> generation = TextGeneration("tiny", "Anthropic-harmless")                     # doctest: +SKIP
        >>> generation.generate_from_MC_aligned_model(2.0, "sentiment", 32, 0, 100).path  # doctest: +SKIP
        PosixPath('results/temp/tiny-Anthropic-harmless_lam=2.000_val=sentiment_0to100.json')
    """

    def __init__(
        self,
        basemodel_name: str,
        data_name: str,
        save_directory: str | Path = "results",
        *,
        prompts: PromptSpec | Mapping[str, Any] | str | Path | None = None,
        rewards: Sequence[str | Mapping[str, Any]] = (),
        seed: int = 0,
        top_k: int | None = 50,
        max_new_tokens: int = 50,
        temperature: float = 1.0,
        trim: Trim = None,
        full_names: bool = False,
        device: str = "auto",
        progress: Progress | None = None,
    ):
        self.basemodel_name = basemodel_name
        self.data_name = data_name
        self.save_directory = Path(save_directory)
        self.basemodel_filename = model_file_name(basemodel_name)
        self.file_path = str(original_path(save_directory, basemodel_name, data_name))
        self.device = str(choose_device(device))
        self.prompts = prompts
        self.rewards = tuple(rewards)
        self.seed = seed
        self.top_k = top_k
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.trim = trim
        self.full_names = full_names
        self.progress = progress or NoProgress()

    @property
    def dataset(self) -> Path:
        return Path(self.file_path).with_suffix("")

    @property
    def generation_config(self) -> Any:
        from transformers import GenerationConfig

        return GenerationConfig(
            do_sample=self.temperature > 0,
            temperature=self.temperature,
            top_k=self.top_k,
            max_new_tokens=self.max_new_tokens,
            num_beams=1,
        )

    def generate_from_original_model(self, batch_size: int = 32) -> Path:
        """Continue every prompt once and write `file_path`.

        Args:
            batch_size: prompts a shard, the unit that is computed and committed at once. A dataset that exists keeps
                its own.

        Returns:
            The file, whose `perplexity` is the mean log-probability a token of the full text.

        Raises:
            ArgumentError: an unknown `data_name`; a ValueError too.
            LatentextError: see `latentext.run.runner.make_dataset`.
        """
        if batch_size < 1:
            raise ArgumentError(f"batch_size is {batch_size}", remedy="give 1 or more")
        spec, path = self._spec(1, (OWN_SCORE,), batch_size), Path(self.file_path)
        # The file is an export of the dataset beside it; without that it is another program's.
        checked_file(path, TEXTS, overwrite=read_provenance(self.dataset) is not None, option=None)
        self._count(spec)  # Prompts that cannot be read are refused before a directory is made.
        make_dataset(spec, self.dataset, progress=self.progress)
        dataset = open_dataset(self.dataset)
        write_rows(path, own_texts(dataset, OWN_SCORE, trim=self.trim))
        if without := prompts_without_text(dataset):
            warnings.warn(_without_text(without), stacklevel=2)
        return path

    def generate_from_MC_aligned_model(  # noqa: N802 (MAP's name)
        self,
        lam_list: float | str | Iterable[float | str],
        value_list: str | Iterable[str],
        MC_nsamples: int = 32,  # noqa: N803
        start_index: int = 0,
        end_index: int | None = None,
    ) -> Sampled:
        """Draw one of `MC_nsamples` continuations of each prompt with probability ∝ exp(λ·r).

        Args:
            lam_list: one λ or several, of either sign; numbers, or text such as ``"1,-0.5"``.
            value_list: as many values, in the same order; "all" for MAP's six.
            MC_nsamples: samples a prompt; what the dataset has is used, what it lacks is added.
            start_index, end_index: the prompts to do, for work in shards; `merging.merge` joins them.

        Raises:
            ArgumentError: λ and values that do not fit each other, an unknown value or `data_name`, one sample only, or
                temperature 0; a ValueError too.
            SpecError: a λ whose rounded file name is taken by another.
            LatentextError: see `latentext.run.runner.make_dataset`.

        Warns:
            UserWarning: λ is too strong for so few samples, or prompts are left out.
        """
        palette, all_values = self._palette(lam_list, value_list)
        self._check_sampling(MC_nsamples)
        spec = self._spec(MC_nsamples, tuple(palette), PROMPTS_A_SHARD)
        requests = index_range(start_index, end_index, self._count(spec))
        path = self._part(palette, requests, all_values=all_values)
        checked_file(path, TEXTS, overwrite=True)
        check_not_taken(path, palette)
        limited = spec.model_copy(update={"prompts": spec.prompts.model_copy(update={"limit": requests.stop})})
        run = make_dataset(limited, self.dataset, progress=self.progress, part=ShardsHolding(requests))
        bank = open_bank(self.dataset, tuple(palette), requests=requests, samples=MC_nsamples)
        sampled = self._draw(bank, palette, path, run)
        for line in (*sampled.warnings, *sampled.diagnosis.warnings):
            warnings.warn(line, stacklevel=2)
        return sampled

    def _draw(self, bank: TextBank, palette: Mapping[str, float], path: Path, run: RunSummary) -> Sampled:
        lam = list(palette.values())
        chosen = draw(bank.bank, tilt(bank.bank, lam), seed=self.seed)
        rows = chosen_texts(bank, chosen, trim=self.trim)
        write_texts(
            path,
            rows,
            palette,
            settings={"samples": bank.bank.samples, "seed": self.seed, "trim": self.trim},
            skipped=sorted(bank.left_out),
            full_names=self.full_names,
        )
        return Sampled(path, len(rows), bank.left_out, diagnose(bank.bank, lam), run, bank.warnings)

    def _palette(
        self, lam_list: float | str | Iterable[float | str], value_list: str | Iterable[str]
    ) -> tuple[dict[str, float], bool]:
        names = value_list if isinstance(value_list, str) else ",".join(value_list)
        if names.strip("[('\")] ") == "all":
            return parse_palette(parse_lambdas(lam_list), "all", MAP_VALUES), True
        known = [*dict.fromkeys([*BUILT_IN, *self._own_rewards()])]
        return parse_palette(parse_lambdas(lam_list), parse_values(names, known), known), False

    def _own_rewards(self) -> dict[str, str | dict[str, Any]]:
        entries = [entry if isinstance(entry, str) else dict(entry) for entry in self.rewards]
        return {reward.name: entry for reward, entry in zip(parse_rewards(entries), entries, strict=True)}

    def _check_sampling(self, samples: int) -> None:
        if samples < 2:
            raise ArgumentError(
                f"MC_nsamples is {samples}: one sample a prompt leaves λ nothing to choose from",
                remedy="give 2 or more, such as 32",
            )
        if self.temperature == 0:
            raise ArgumentError(
                "temperature is 0: all samples of a prompt would be the same text, and no λ could choose",
                remedy="give a temperature above 0",
            )

    def _spec(self, samples: int, values: Sequence[str], shard_size: int) -> Spec:
        own = self._own_rewards()
        made = read_provenance(self.dataset) is not None
        spec = Spec(
            name=self.dataset.name,
            seed=self.seed,
            model=ModelSpec(name=BASE_MODELS.get(self.basemodel_name, self.basemodel_name), device=self.device),
            prompts=self._prompts(),
            decoding=Decoding(
                temperature=self.temperature,
                top_k=self.top_k,
                max_new_tokens=self.max_new_tokens,
                n=samples,
                logprobs=True,
            ),
            rewards=tuple(own.get(value, value) for value in values),
            shard_size=None if made else shard_size,
        )
        return resolve_inputs(spec, Path())

    def _prompts(self) -> PromptSpec:
        if isinstance(self.prompts, PromptSpec):
            return self.prompts
        if isinstance(self.prompts, Mapping):
            return load_spec({"prompts": dict(self.prompts)}).prompts
        corpus = self.data_name if self.data_name in CORPORA else None
        if corpus is None and self.prompts is None:
            raise ArgumentError(
                f"unknown data_name {self.data_name!r}",
                remedy=f"known are {', '.join(CORPORA)}; for prompts of your own give a file or a spec's prompts",
            )
        file = None if self.prompts is None else FileSource(path=str(self.prompts))
        return PromptSpec(corpus=corpus, file=file, use_chat_template=False)

    def _count(self, spec: Spec) -> int:
        """How many prompts there are; a plan that exists has the index of their file already."""
        plan = self.dataset / PLAN
        with temporary_folder("prompts") as folder:
            prompts = len(open_conversations(spec.prompts, spec.seed, plan if plan.is_dir() else folder))
        return prompts if spec.prompts.limit is None else min(prompts, spec.prompts.limit)

    def _part(self, palette: Mapping[str, float], requests: range, *, all_values: bool) -> Path:
        original = Path(self.file_path)
        stem = palette_stem(original, palette, all_values=all_values, full_names=self.full_names)
        return part_path(original, stem, requests.start, requests.stop)


def _without_text(reasons: Mapping[int, str]) -> str:
    first, reason = next(iter(reasons.items()))
    prompts = "1 prompt has" if len(reasons) == 1 else f"{len(reasons)} prompts have"
    return f"{prompts} no text; the first is prompt {first}: {reason}"
