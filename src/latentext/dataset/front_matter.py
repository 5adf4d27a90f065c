"""The head of a dataset card: what `datasets.load_dataset` and the Hugging Face Hub read of it.

The Hub knows a dataset by YAML between two lines of dashes at the top of README.md. `configs` names the tables: the
records, and one table per set of scores. With it ``load_dataset("DIR")`` gives the records, from the disk and from the
Hub alike. What we do not know is left out: the languages of the texts, and a licence that nobody named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from latentext.spec import Spec
from latentext.spec.yaml_text import dump_yaml

RECORDS = "records"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def front_matter(metadata: Mapping[str, Any], spec: Spec) -> str:
    """The head with its two lines of dashes; of a dataset without texts only what is known of it.

    Args:
        metadata: what metadata.json says.
    """
    head: dict[str, Any] = {"pretty_name": " ".join(spec.name.split())}
    if metadata["licence"]:
        head["license"] = metadata["licence"]
    if not spec.model.remote and _HUB_ID.fullmatch(spec.model.name):
        head["base_model"] = spec.model.name
    head["tags"] = ["latentext", "synthetic"]
    if metadata["finish_reasons"]:
        head["configs"] = list(_configs(metadata))
    return f"---\n{dump_yaml(head)}---"


def _configs(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One table per kind: the records first, which are what is loaded unless another is asked for."""
    scores = [
        {"config_name": f"scores-{folder}", "data_files": f"scores/{folder}/*.parquet"}
        for folder, facts in metadata["scores"].items()
        if facts["shards"]
    ]
    return [{"config_name": RECORDS, "data_files": f"{RECORDS}/*/*.parquet", "default": True}, *scores]
