"""Reading a dataset: `open` a directory, and take records and states from it without loading what is not asked for.

A reader sees finished shards only, each checked by its receipt; a directory whose run still goes on can be read. What
is damaged raises, with the file's name: rows that silently go missing would be worse than none. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from latentext.dataset import display, layout
from latentext.dataset.captures import choose
from latentext.dataset.documents import read_json, read_spec
from latentext.dataset.frame import as_frame, with_covariates
from latentext.dataset.receipts import Distrust, Receipt, check_shard
from latentext.dataset.records import by_text, find_places, places_of, read_records
from latentext.dataset.scores import read_scores, score_sets
from latentext.dataset.splits import split_records
from latentext.dataset.stages import ScoresStage, StatesStage, declared_stages, read_stage
from latentext.dataset.states_view import ShardParts, StatesView, TextTokens
from latentext.dataset.trust import refuse_model_inside, without_code
from latentext.errors import DatasetError
from latentext.models.display_names import recorded_label
from latentext.spec import Pool, Positions, Spec, SplitSpec

if TYPE_CHECKING:
    import pandas as pd


def open_dataset(directory: str | Path, *, trust_remote_code: bool = False) -> Dataset:
    """Open a dataset directory for reading.

    Args:
        trust_remote_code: let the model's own Python code run where the dataset's spec asks for it and the model or its
            tokenizer is loaded; without it the spec of the dataset has it off.

    Raises:
        DatasetError: there is no dataset, or it was made by a newer version.

    Example:
        >>> data = open_dataset("data/same_prompt")                                             # doctest: +SKIP
        >>> data.records(["text", "finish_reason"], split="val").num_rows               # doctest: +SKIP
        45
        >>> states = data.states("final_norm")                                          # doctest: +SKIP
        >>> states.shape, states[states.text(0)].shape, states.rows["remaining"][0]     # doctest: +SKIP
        ((13122, 128), (11, 128), 10)
    """
    root = Path(directory)
    spec = read_spec(root)
    if trust_remote_code:
        refuse_model_inside(root, spec)
    dataset = Dataset(root, spec if trust_remote_code else without_code(spec))
    version = dataset.provenance.get("format_version")
    if isinstance(version, int) and version > layout.FORMAT_VERSION:
        what = f"written in format version {version}, this latentext reads up to {layout.FORMAT_VERSION}"
        raise DatasetError(what, where=str(root), remedy="update latentext")
    return dataset


@dataclass(frozen=True, repr=False)
class Dataset:
    """The finished shards of a dataset directory. Receipts are read once, on first use.

    ``len(data)`` is the number of texts, ``for record in data`` gives every record as a mapping.

    Attributes:
        directory: where it lies.
        spec: the resolved spec it was made from; a model's own code is off in it unless the reader allowed it.
    """

    directory: Path
    spec: Spec = field(repr=False)
    _known_receipts: dict[str, dict[int, Receipt]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return sum(receipt.rows for receipts in self._record_receipts for receipt in receipts.values())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every record as a mapping of columns to values, in the order of `records`, shard by shard."""
        for table in self.iter_records():
            yield from table.to_pylist()

    def __repr__(self) -> str:
        return display.as_text(self)

    def _repr_html_(self) -> str:
        return display.as_html(self)

    def texts(self, split: str | None = None) -> list[str]:
        """All texts, or those of one split, in the order of `records`."""
        return [str(text) for text in self.records(["text"], split)["text"].to_pylist()]

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Counts and facts as ``metadata.json`` has them; empty before it is first written."""
        return read_json(self.directory / layout.METADATA)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Model revision, hashes, device and versions, as ``provenance.json`` has them."""
        return read_json(self.directory / layout.PROVENANCE)

    @property
    def model_label(self) -> str:
        """What the model is called in pages and exports (`latentext.models.display_names`)."""
        return recorded_label(self.spec.model.name, self.provenance)

    @property
    def plan_count(self) -> int:
        """Number of requests in the plan; before ``metadata.json`` is written, those of the finished shards."""
        finished = max((receipt.stop for receipts in self._record_receipts for receipt in receipts.values()), default=0)
        counts = self.metadata.get("counts", {})
        planned = counts.get("requests", finished) if isinstance(counts, dict) else None
        if not isinstance(planned, int):
            path = str(self.directory / layout.METADATA)
            raise DatasetError(
                "damaged: it does not say how many requests", where=path, remedy="run the same command again"
            )
        return planned

    @cached_property
    def captures(self) -> dict[str, StatesStage]:
        """What was captured, by name: sites, positions, pool, dtype of each."""
        stages = declared_stages(self.directory, "states")
        return {stage.split("/", 1)[1]: read_stage(self.directory, stage, StatesStage) for stage in stages}

    @cached_property
    def rewards(self) -> dict[str, ScoresStage]:
        """What was scored, by the name of its folder under ``scores/``."""
        stages = declared_stages(self.directory, "scores")
        return {stage.split("/", 1)[1]: read_stage(self.directory, stage, ScoresStage) for stage in stages}

    @cached_property
    def shard_numbers(self) -> list[int]:
        """Numbers of the shards that have records, ascending."""
        return sorted({number for receipts in self._record_receipts for number in receipts})

    def records(self, columns: Sequence[str] | None = None, split: str | None = None) -> pa.Table:
        """Records as one Arrow table in the order of (index, sample): all columns or some, all rows or one split.

        Raises:
            DatasetError: a file is damaged, or there is no such column or split.
        """
        tables = list(self.iter_records(columns))
        table = pa.concat_tables(tables) if tables else read_records([], columns)
        if split is None:
            return table
        rows = self.split()
        if split not in rows:
            raise DatasetError(f"no split {split!r}", remedy=f"splits are: {', '.join(rows)}")
        return table.take(pa.array(rows[split]))

    def split(self, spec: SplitSpec | None = None) -> dict[str, npt.NDArray[np.int64]]:
        """Row numbers of `records` by split, as the run's spec (or another) says; see `latentext.dataset.splits`."""
        return split_records(self, spec)

    def iter_records(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Records shard by shard, in bounded memory, in the same order as `records`."""
        for number in self.shard_numbers:
            yield self.shard_records(number, columns)

    def shard_records(self, shard_number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Records of one shard, in the order of (index, sample)."""
        stages = [
            s
            for s, receipts in zip(self._record_stages, self._record_receipts, strict=True)
            if shard_number in receipts
        ]
        paths = [self.directory / stage / layout.table_name(shard_number) for stage in stages]
        if len(paths) < 2 or columns is None:
            table = read_records(paths, columns)
            return table if len(paths) < 2 else by_text(table)
        table = read_records(paths, list(dict.fromkeys([*columns, "index", "sample"])))
        return by_text(table).select(list(columns))

    @cached_property
    def score_sets(self) -> dict[str, list[str]]:
        """The sets of scores by name (the reward's, where it was scored in one way), with their folders.

        A folder without a finished shard has no scores: a run was killed, or its reward failed, before the first.
        """
        return score_sets({name: stage for name, stage in self.rewards.items() if self._receipts(f"scores/{name}")})

    def scored_texts(self, name: str) -> int:
        """How many texts a set of scores speaks of, with a number or without."""
        folders = self.score_sets[name]
        return sum(r.rows for folder in folders for r in self._receipts(layout.scores_folder(folder)).values())

    def scores(self, name: str) -> pa.Table:
        """Scores of one reward, in the order of (index, sample): `index`, `sample`, and its columns.

        Raises:
            DatasetError: there are no such scores; those that are there are named.
        """
        tables = [self.shard_scores(name, number) for number in self.shard_numbers]
        return pa.concat_tables(tables) if tables else self.shard_scores(name, 0)

    def shard_scores(self, name: str, shard_number: int) -> pa.Table:
        """Scores of one shard; without rows where it is not scored yet. Arguments and errors as `scores`."""
        if name not in self.score_sets:
            raise DatasetError(f"no scores {name!r}", remedy=f"scores are: {', '.join(self.score_sets) or 'none'}")
        folders = self.score_sets[name]
        stages = [layout.scores_folder(folder) for folder in folders]
        here = [stage for stage in stages if shard_number in self._receipts(stage)]
        table = read_scores(
            (self.directory / stage / layout.table_name(shard_number) for stage in here),
            self.rewards[folders[0]].columns,
        )
        return by_text(table) if len(here) > 1 else table

    def to_pandas(self, split: str | None = None) -> pd.DataFrame:
        """Records as a pandas DataFrame: variables become columns, messages lists, usage two columns.

        A variable named like another column is called ``variables.<name>``.
        """
        return as_frame(self.records(split=split))

    def to_frame(
        self, covariates: pd.DataFrame | None = None, *, by: str = "id", drop_missing: bool = False
    ) -> pd.DataFrame:
        """Records as `to_pandas` gives them, with the columns of a data frame whose index holds the ids of the texts.

        Args:
            covariates: its index and the column `by` of the records must hold the same values, each once.
            by: the variable that names a text.
            drop_missing: leave out covariates of texts that the dataset lacks, because their request failed.

        Raises:
            DatasetError: the two do not fit.
        """
        frame = self.to_pandas()
        return frame if covariates is None else with_covariates(frame, covariates, by, drop_missing=drop_missing)

    def states(
        self,
        site: str | int,
        positions: Positions | None = None,
        pool: Pool | None = None,
        capture: str | None = None,
    ) -> StatesView:
        """States of one site as an array on the disk [N, width]; `site` is a name or a Hugging Face index.

        Samples that were captured later are joined. See `latentext.dataset.captures.choose` for what is taken where
        several captures hold the site.

        Raises:
            DatasetError: the site was not captured; those that were are named.
        """
        choice = choose(self.captures, site, positions, pool, capture)
        shards: dict[int, ShardParts] = {}
        for name in choice.captures:
            stage = layout.states_folder(name)
            for number, receipt in self._receipts(stage).items():
                parts = tuple((self.directory / stage / file.name, file.rows) for file in receipt.files)
                before = shards[number].parts if number in shards else ()
                shards[number] = ShardParts(number, receipt.start, receipt.stop, before + parts)
        first = next(iter(choice.captures.values()))
        in_order = tuple(shards[number] for number in sorted(shards) if shards[number].rows)
        width, dtype = first.widths[choice.tensor], first.dtype
        return StatesView(choice.site, choice.tensor, width, dtype, in_order, self._tokens, choice.pool, choice.layer)

    def record_numbers(self, view: StatesView) -> npt.NDArray[np.int64]:
        """For each row of `view`, the row number of its text in `records`: carries any column of texts to rows.

        Raises:
            DatasetError: the view has rows of a text that has no record.

        Example:
            >>> reasons = data.records(["finish_reason"])["finish_reason"].to_numpy()     # doctest: +SKIP
            >>> whole = states[reasons[data.record_numbers(states)] == "stop"]            # doctest: +SKIP
        """
        shards = (shard.rows for shard in view.shards())
        numbers = [find_places(self._places, places_of(rows["index"], rows["sample"])) for rows in shards]
        return np.concatenate(numbers) if numbers else np.empty(0, np.int64)

    @cached_property
    def _places(self) -> npt.NDArray[np.int64]:
        """(index, sample) of every record as one number; 8 bytes a record."""
        tables = self.iter_records(["index", "sample"])
        places = [places_of(table["index"].to_numpy(), table["sample"].to_numpy()) for table in tables]
        return np.concatenate(places) if places else np.empty(0, np.int64)

    @cached_property
    def _record_stages(self) -> list[str]:
        stages = layout.list_stages(self.directory, "records")
        for before, after in pairwise(stages):
            if layout.samples_of(before).stop > layout.samples_of(after).start:
                raise DatasetError(f"{before} and {after} hold the same samples", where=str(self.directory))
        return stages

    def refuse_without_texts(self) -> None:
        """Refuse to make something of a dataset of which no shard of texts is finished, or whose records are gone.

        Raises:
            DatasetError: requests were planned, and there is neither a text nor a failure.
        """
        planned = self.plan_count or read_json(self.directory / layout.PLAN / "plan.json").get("segments")
        if planned and not self.shard_numbers:
            raise DatasetError(
                "has no texts", where=str(self.directory), remedy="run its spec, or put its records/ back in place"
            )

    @property
    def record_receipts(self) -> dict[str, dict[int, Receipt]]:
        """The receipts of the finished shards of texts, by the folder of their samples and by shard."""
        return dict(zip(self._record_stages, self._record_receipts, strict=True))

    @cached_property
    def _record_receipts(self) -> list[dict[int, Receipt]]:
        return [self._receipts(stage) for stage in self._record_stages]

    def _receipts(self, stage: str) -> dict[int, Receipt]:
        """The receipts of a stage's finished shards, by shard; one that cannot be believed raises."""
        if stage not in self._known_receipts:
            self._known_receipts[stage] = self._read_receipts(stage)
        return self._known_receipts[stage]

    def _read_receipts(self, stage: str) -> dict[int, Receipt]:
        receipts = {}
        for number in layout.list_shards(self.directory, stage):
            found = check_shard(self.directory, stage, number)
            if isinstance(found, Distrust):
                raise DatasetError(found.why, where=str(found.path), remedy="run the same command again to rebuild it")
            if found is not None:
                receipts[number] = found
        return receipts

    def _tokens(self, shard_number: int) -> dict[tuple[int, int], TextTokens]:
        table = self.shard_records(shard_number, ["index", "sample", "prompt_token_ids", "token_ids"])
        return {
            (row["index"], row["sample"]): TextTokens(
                np.array([*row["prompt_token_ids"], *row["token_ids"]], np.int32), len(row["prompt_token_ids"])
            )
            for row in table.to_pylist()
        }
