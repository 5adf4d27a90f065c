"""What tokens cost: a dated table in a data file, and arithmetic without rounding.

The table that ships with the package holds OpenAI's prices and is used where OpenAI's server is asked; a table of the
user's own goes before it, and the word ``openai`` takes the shipped one for any server (a proxy, a rehearsal). A model
that no table names costs an unknown amount: then tokens are counted and nothing is said of money.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from latentext.engines.server.credentials import is_openai, server_address
from latentext.errors import SpecError
from latentext.request import Usage
from latentext.spec import SHIPPED_PRICES, ApiOptions, Frozen, ModelSpec
from latentext.spec.yaml_text import YamlError, parse_yaml

MILLION = 1_000_000
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")
Dollars = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)]


class LongPrompt(Frozen):
    """What prompts of more than `above` tokens cost: the factors hold for all tokens of their requests."""

    above: Annotated[int, Field(gt=0)]
    input: Annotated[Decimal, Field(ge=1)]
    output: Annotated[Decimal, Field(ge=1)]


class Price(Frozen):
    """US dollars for a million tokens of one model; `batch` is the factor of the Batch API.

    Example:
        >>> price = Price(input=Decimal("2.50"), cached=Decimal("1.25"), output=Decimal("10"))
        >>> price.cost(Usage(prompt_tokens=1000, completion_tokens=100, cached_tokens=400))
        Decimal('0.003')
    """

    input: Dollars
    output: Dollars
    cached: Dollars | None = None
    cache_write: Dollars | None = None
    batch: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)
    long: LongPrompt | None = None

    def cost(self, usage: Usage, *, batch: bool = False, cache_write_tokens: int = 0) -> Decimal:
        """Dollars for these tokens, exactly."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        written = min(cache_write_tokens, usage.prompt_tokens - cached) if self.cache_write is not None else 0
        prompt = (
            (usage.prompt_tokens - cached - written) * self.input
            + cached * (self.input if self.cached is None else self.cached)
            + written * (self.cache_write or Decimal(0))
        )
        dearer, longer = self._factors(usage.prompt_tokens)
        total = prompt * dearer + usage.completion_tokens * self.output * longer
        return total / MILLION * (self.batch if batch else 1)

    def worst_cost(self, prompt_tokens: int, completion_tokens: int, *, batch: bool = False) -> Decimal:
        """Dollars at most for a request of at most so many tokens: nothing cached, all of it written to a cache."""
        dearest = max(self.input, self.cached or self.input, self.cache_write or self.input)
        dearer, longer = self._factors(prompt_tokens)
        total = prompt_tokens * dearest * dearer + completion_tokens * self.output * longer
        return total / MILLION * (self.batch if batch else 1)

    def _factors(self, prompt_tokens: int) -> tuple[Decimal, Decimal]:
        """How many times the price of a short request the prompt and the text cost."""
        if self.long is None or prompt_tokens <= self.long.above:
            return Decimal(1), Decimal(1)
        return self.long.input, self.long.output


class _Table(Frozen):
    """A price file as it is written."""

    date: date
    batch: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)
    models: dict[str, Price]


@dataclass(frozen=True)
class Prices:
    """A price table: prices by model name, and the day they were true on (None: there is no table)."""

    models: Mapping[str, Price]
    date: date | None = None

    def of(self, model: str) -> Price | None:
        """The price of a model or of the model that this is a dated snapshot of; None if the table has neither."""
        return self.models.get(model) or self.models.get(_SNAPSHOT.sub("", model))


def prices_for(options: ApiOptions, url: str | None) -> Prices:
    """The table for a server: the user's own lines first, then the shipped ones where OpenAI is asked.

    Raises:
        SpecError: the user's table cannot be read.
    """
    if options.prices is None:
        return shipped_prices() if is_openai(url) else Prices({})
    if options.prices == SHIPPED_PRICES:
        return shipped_prices()
    own = read_prices(Path(options.prices))
    if not is_openai(url):
        return own
    return Prices({**shipped_prices().models, **own.models}, own.date)


def price_of(model: ModelSpec) -> Price | None:
    """The price of a spec's model at its server; None if it is not known."""
    options = model.api or ApiOptions()
    return prices_for(options, server_address(options.base_url)).of(model.name)


@cache
def shipped_prices() -> Prices:
    """OpenAI's prices as this version knows them."""
    source = files("latentext.engines.server") / "prices.yaml"
    return _table(source.read_text(encoding="utf-8"), "prices.yaml")


def read_prices(path: Path) -> Prices:
    """A table of one's own.

    Raises:
        SpecError: there is no such file, or it is no price table; the field is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError("the price table cannot be read", where=str(path)) from error
    return _table(text, str(path))


def cost_of(usage: Usage, model: str, batch: bool = False, prices: Prices | None = None) -> Decimal | None:
    """Dollars for these tokens by a table (the shipped one by default); None for a model that it does not name.

    Example:
        >>> cost_of(Usage(prompt_tokens=1_000_000, completion_tokens=0), "gpt-4o-2024-08-06", batch=True)
        Decimal('1.250')
        >>> cost_of(Usage(prompt_tokens=1, completion_tokens=1), "my-own-model") is None
        True
    """
    price = (prices or shipped_prices()).of(model)
    return None if price is None else price.cost(usage, batch=batch)


def _table(text: str, where: str) -> Prices:
    try:
        table = _Table.model_validate(parse_yaml(text))
    except YamlError as error:
        raise SpecError(f"is no YAML: {error}", where=where) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        what = f"{field}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        remedy = "a table has a date, and models: {name: {input: …, output: …}} in dollars a million tokens"
        raise SpecError(what, where=where, remedy=remedy) from None
    models = {
        name: price if "batch" in price.model_fields_set else price.model_copy(update={"batch": table.batch})
        for name, price in table.models.items()
    }
    return Prices(models, table.date)
