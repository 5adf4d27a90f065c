"""The public names of latentext, in one place.

``import latentext`` gives the same names and loads each on first use; this module loads all of them, so type checkers,
editors and the reference page read it. What is not here may change between minor versions.

Make a dataset with `make_dataset`, add to it with `capture_states` and `score_texts`, read it with `open_dataset`:

    >>> import latentext
    >>> spec = latentext.Spec(prompts={"template": "Say {word}.", "grid": {"word": ["yes", "no"]}})
    >>> summary = latentext.make_dataset(spec, "data/say")             # doctest: +SKIP
    >>> latentext.open_dataset("data/say").to_pandas()                 # doctest: +SKIP
"""

from latentext.dataset.reader import Dataset, open_dataset
from latentext.dataset.states_view import StatesView
from latentext.errors import (
    BudgetError,
    CredentialsError,
    DatasetError,
    DiskFullError,
    EngineError,
    LatentextError,
    SpecError,
)
from latentext.rewards import reward
from latentext.run.runner import RunSummary, capture_states, make_dataset, score_texts
from latentext.spec import (
    CheckSpec,
    Decoding,
    LengthSpec,
    ModelSpec,
    PromptSpec,
    Spec,
    SplitSpec,
    StatesSpec,
)
from latentext.spec.files import load_spec
from latentext.spec.limits import Limits

__all__ = [
    "BudgetError",
    "CheckSpec",
    "CredentialsError",
    "Dataset",
    "DatasetError",
    "Decoding",
    "DiskFullError",
    "EngineError",
    "LatentextError",
    "LengthSpec",
    "Limits",
    "ModelSpec",
    "PromptSpec",
    "RunSummary",
    "Spec",
    "SpecError",
    "SplitSpec",
    "StatesSpec",
    "StatesView",
    "capture_states",
    "load_spec",
    "make_dataset",
    "open_dataset",
    "reward",
    "score_texts",
]
