"""What a run is: frozen pydantic models, one vocabulary for YAML, Python and the command line.

Every field has the same name in a YAML file, in ``Spec(...)`` and in ``--set a.b=c``. Unknown fields are refused.
Reading files and turning pydantic's findings into one-line errors is the business of `latentext.spec.files`.
"""

from latentext.spec.acceptance import CheckSpec, Keep, LengthSpec, RepetitionCheck
from latentext.spec.base import DType, Frozen, Scalar
from latentext.spec.decoding import Decoding
from latentext.spec.model import (
    REMOTE_ENGINES,
    SHIPPED_PRICES,
    TEMPLATE_VARIABLES,
    TINY,
    ApiOptions,
    ModelSpec,
    VllmOptions,
)
from latentext.spec.prompts import (
    TWINS,
    FileSource,
    GridValues,
    HubSource,
    PairForm,
    PairsSource,
    PromptSpec,
    RangeSpec,
)
from latentext.spec.spec import Spec, SplitSpec
from latentext.spec.states import Pool, Positions, StatesSpec

__all__ = [
    "REMOTE_ENGINES",
    "SHIPPED_PRICES",
    "TEMPLATE_VARIABLES",
    "TINY",
    "TWINS",
    "ApiOptions",
    "CheckSpec",
    "DType",
    "Decoding",
    "FileSource",
    "Frozen",
    "GridValues",
    "HubSource",
    "Keep",
    "LengthSpec",
    "ModelSpec",
    "PairForm",
    "PairsSource",
    "Pool",
    "Positions",
    "PromptSpec",
    "RangeSpec",
    "RepetitionCheck",
    "Scalar",
    "Spec",
    "SplitSpec",
    "StatesSpec",
    "VllmOptions",
]
