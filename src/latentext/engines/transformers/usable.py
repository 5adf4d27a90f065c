"""What a model's configuration tells before its weights are loaded: whether the engine could write texts with it.

A dry run loads nothing. It refuses by this what a run would refuse when it loads the model and tries it.
"""

from __future__ import annotations

from typing import Any

from latentext.engines.transformers.cache import keeps_keys_and_values
from latentext.errors import EngineError
from latentext.libraries.transformers.models import DECODERS_OF_PAIRS, causal_class, has_masked_class
from latentext.models.door import guarded
from latentext.models.pretrained import read_config
from latentext.models.resolve import ModelSource

_REFUSED = "Models that are refused"
_REMEDY = "use a causal (decoder-only) language model"
_OTHER_HEADS = ("Model", "Classification", "QuestionAnswering", "MultipleChoice")
"""How the names of classes end whose checkpoints hold no output embeddings."""


def refuse_unusable(source: ModelSource, *, trust_remote_code: bool = False) -> None:
    """Refuse a model that, by its ``config.json``, is no causal language model of attention blocks.

    Models whose code is their own are not judged.

    Raises:
        EngineError: says what it is instead.
        SpecError, CredentialsError: there is no configuration, or it cannot be read.
    """
    config = read_config(source, trust_remote_code=trust_remote_code)
    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return
    with guarded(source.name):  # Each question makes transformers compute with numbers of the file.
        problem = _problem(config)
    if problem is not None:
        raise EngineError(problem, where=f"model {source.name}", remedy=_REMEDY, heading=_REFUSED)


def _problem(config: Any) -> str | None:
    text_config = config.get_text_config()
    saved = next(iter(getattr(config, "architectures", None) or ()), None)
    wanted = causal_class(config)
    if getattr(config, "is_encoder_decoder", False):
        return f"a {saved or config.model_type} is an encoder-decoder, which this engine does not run"
    if config.model_type in DECODERS_OF_PAIRS:
        return f"{wanted} is the decoder of an encoder-decoder, which counts padding as positions"
    if wanted is None:
        return f"a {saved or config.model_type} is no causal language model"
    if getattr(text_config, "use_bidirectional_attention", None) is True:
        return f"{wanted} attends to later tokens (use_bidirectional_attention), so it cannot write texts"
    if has_masked_class(config) and not getattr(config, "is_decoder", False):
        return f"{wanted} attends to later tokens (it is bidirectional), so it cannot write texts"
    tied = getattr(text_config, "tie_word_embeddings", False)
    if saved not in (None, wanted) and saved.endswith(_OTHER_HEADS) and not saved.endswith("HeadModel") and not tied:
        return f"the files are of a {saved}, not of a {wanted}: they hold no output embeddings"
    if not keeps_keys_and_values(config):
        return f"{wanted} keeps more than keys and values of its tokens, which this engine cannot batch"
    return None
