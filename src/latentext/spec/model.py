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

    base_url: str | None = Field(
        default=None, description="Address of the server, as `http://localhost:8000/v1`; OpenAI's own if left out."
    )
    concurrency: int = Field(default=16, ge=1, description="Requests in flight at a time.")
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="Rate limit in requests per minute; none if left out."
    )
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Rate limit in tokens per minute; none if left out."
    )
    timeout: float = Field(
        default=120.0, ge=0.001, le=1e6, description="Seconds until a request without an answer is tried again."
    )
    max_tries: int = Field(default=6, ge=1, description="Attempts per request before it counts as failed.")
    request: dict[str, Any] = Field(
        default_factory=dict, description="Further fields of every request body, such as `response_format`."
    )
    prices: str | None = Field(
        default=None, description="Price table (YAML file), or `openai` for the table of the package."
    )
    compare_prompt_tokens: bool = Field(
        default=True,
        description="Refuse states where the server counted another number of prompt tokens than the local model.",
    )


class VllmOptions(Frozen):
    """How vLLM is started; the fields have vLLM's own names and meaning.

    `capture` says how states are had: by replay with transformers after the texts are written, or by vLLM's own
    extraction while they are written, where it serves the sites that are asked for.
    """

    tensor_parallel_size: int = Field(default=1, ge=1, description="GPUs that share one model.")
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1, description="Share of GPU memory that vLLM may use.")
    max_model_len: int | None = Field(
        default=None,
        ge=1,
        description="Longest prompt and answer together, in tokens; the model's own limit if left out.",
    )
    enforce_eager: bool = Field(default=False, description="Run without CUDA graphs.")
    quantization: str | None = Field(default=None, description="vLLM's name of a quantisation.")
    capture: Literal["replay", "extract"] = Field(
        default="replay",
        description="How states are computed: by replay with transformers, or by vLLM while it writes (`extract`).",
    )


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

    name: str = Field(
        default=TINY,
        description="Name from `latentext models`, Hugging Face id, local folder, or the server's own name.",
    )
    engine: Literal["transformers", "vllm", "openai", "openai-batch"] = Field(
        default="transformers",
        description="What runs the model: transformers, vllm, a server (openai) or the Batch API (openai-batch).",
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of the Hugging Face repository.")
    dtype: Literal["auto"] | DType = Field(
        default="auto",
        description="Floating-point type of the weights; `auto` takes the checkpoint's on a GPU and float32 on a CPU.",
    )
    device: str = Field(default="auto", description="Device as torch names it; `auto` takes a GPU if there is one.")
    device_map: str | None = Field(
        default=None, description="Placement over several GPUs, as accelerate understands it (`auto`)."
    )
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = Field(
        default="auto", description="Attention implementation of transformers."
    )
    trust_remote_code: bool = Field(default=False, description="Run Python code from the model's repository.")
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads of torch; recorded, and the same in every later run."
    )
    batch_tokens: int | None = Field(
        default=None, ge=1, description="Most tokens in flight in a batch; chosen from the memory if left out."
    )
    batch_size: int | None = Field(default=None, ge=1, description="Most texts in flight in a batch.")
    quantization: Literal["bitsandbytes-4bit", "bitsandbytes-8bit"] | None = Field(
        default=None, description="Rounding of the weights while they are loaded."
    )
    api: ApiOptions | None = Field(default=None, description="How a server is asked (engines openai and openai-batch).")
    vllm: VllmOptions | None = Field(default=None, description="How vLLM is started (engine vllm).")
    local: str | None = Field(
        default=None,
        description="Model on this machine with the tokenizer and the weights behind a server: token ids and states.",
    )

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
