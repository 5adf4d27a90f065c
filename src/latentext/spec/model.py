"""Which model writes the texts, by which engine."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from latentext.spec.base import DType, Frozen

TINY = "tiny"
"""The model that is part of the package."""

TEMPLATE_VARIABLES = "chat_template_kwargs"
"""The field of a request by which vLLM, SGLang and llama.cpp take variables of the chat template."""

SHIPPED_PRICES = "openai"
"""In place of a file in ``model.api.prices``: the table of the package, for any server."""


class ApiOptions(Frozen):
    """How a server that speaks OpenAI's protocol is asked.

    `request` holds further fields of every request body, such as ``response_format``; they decide texts and are part of
    the identity. All else only decides when and where requests are sent. `timeout` is in seconds a request. `prices` is
    a price table of your own (YAML), or ``openai`` for the one that ships with the package, which is otherwise used for
    OpenAI's own server alone. `compare_prompt_tokens` refuses states where the server counted another number of tokens
    in the prompt than the local model; false is for servers that count in a way of their own.
    """

    base_url: str | None = None
    concurrency: int = Field(default=16, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    timeout: float = Field(default=120.0, ge=0.001, le=1e6)
    max_tries: int = Field(default=6, ge=1)
    request: dict[str, Any] = Field(default_factory=dict)
    prices: str | None = None
    compare_prompt_tokens: bool = True


class VllmOptions(Frozen):
    """How vLLM is started; the fields have vLLM's own names and meaning.

    `capture` says how states are had: by replay with transformers after the texts are written, or by vLLM's own
    extraction while they are written, where it serves the sites that are asked for.
    """

    tensor_parallel_size: int = Field(default=1, ge=1)
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    max_model_len: int | None = Field(default=None, ge=1)
    enforce_eager: bool = False
    quantization: str | None = None
    capture: Literal["replay", "extract"] = "replay"


REMOTE_ENGINES = ("openai", "openai-batch")
"""Engines whose model is not in this process: texts come without token ids."""


class ModelSpec(Frozen):
    """Which model writes the texts, and how it is loaded.

    `name` is a name from ``latentext models``, a Hugging Face id or a local folder; with the engines `openai` and
    `openai-batch` it is the name that the server knows. `local` is then a model on this machine whose tokenizer encodes
    prompts and texts, and whose weights give their states.

    `batch_tokens` and `batch_size` bound the texts in flight, by their tokens and by number. `quantization` rounds the
    weights while they are loaded; weights that are stored quantised (GPTQ, AWQ) need no word of it.
    """

    name: str = TINY
    engine: Literal["transformers", "vllm", "openai", "openai-batch"] = "transformers"
    revision: str | None = None
    dtype: Literal["auto"] | DType = "auto"
    device: str = "auto"
    device_map: str | None = None
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    trust_remote_code: bool = False
    threads: int | None = Field(default=None, ge=1)
    batch_tokens: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    quantization: Literal["bitsandbytes-4bit", "bitsandbytes-8bit"] | None = None
    api: ApiOptions | None = None
    vllm: VllmOptions | None = None
    local: str | None = None

    @property
    def remote(self) -> bool:
        """Whether the model is behind a server."""
        return self.engine in REMOTE_ENGINES

    @property
    def template_variables(self) -> dict[str, Any]:
        """Variables of the chat template that every request carries to the server: its ``chat_template_kwargs``."""
        found = (self.api.request if self.api is not None else {}).get(TEMPLATE_VARIABLES)
        return dict(found) if isinstance(found, dict) else {}

    @model_validator(mode="after")
    def _options_of_its_engine(self) -> Self:
        for name, engines in (
            ("api", REMOTE_ENGINES),
            ("local", REMOTE_ENGINES),
            ("vllm", ("vllm",)),
            ("batch_size", ("transformers",)),
            ("quantization", ("transformers",)),
        ):
            if getattr(self, name) is not None and self.engine not in engines:
                raise ValueError(f"{name} is for engine {' or '.join(engines)}, not {self.engine}")
        return self
