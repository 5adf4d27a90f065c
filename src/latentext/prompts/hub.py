"""Rows from a Hugging Face dataset by name (extra `hub`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentext.errors import SpecError
from latentext.models.door import guarded
from latentext.models.resolve import hub_token
from latentext.prompts.parquet import is_plain, plain_row
from latentext.prompts.rows import Row
from latentext.spec import HubSource


class HubRows:
    """The rows of one split, memory-mapped from the datasets cache; columns of bytes are `left_out`.

    Raises:
        SpecError: the extra is missing, or there is no such dataset, configuration or split, or no network.
        CredentialsError: the dataset is gated.
    """

    def __init__(self, source: HubSource):
        try:
            from datasets import load_dataset
        except ImportError:
            raise SpecError(
                "Hugging Face datasets need the extra `hub`",
                where="prompts.hub",
                remedy="pip install 'latentext[hub]'",
            ) from None
        token = hub_token()
        with guarded(source.name, kind="dataset"):
            loaded = load_dataset(
                source.name,
                source.config,
                data_dir=source.data_dir,
                split=source.split,
                revision=source.revision,
                token=token,
            )
        schema = loaded.features.arrow_schema
        self.columns = tuple(field.name for field in schema if is_plain(field.type))
        self.left_out = tuple(field.name for field in schema if not is_plain(field.type))
        self._rows = loaded.select_columns(list(self.columns))
        self.identity: Mapping[str, Any] = {"hub": source.model_dump(), "rows": len(loaded)}

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, index: int) -> Row:
        return plain_row(self._rows[index])
