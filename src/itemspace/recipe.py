"""`Recipe`: what a Space is made of. Defaults live here and in the parts' own configs; a TOML file only overrides.

```toml
seed = 0
text = ["title", "description"]       # what is read as an item's words; default: text columns, then categories

[fields]                              # lexical search: weight of each column
title = 3.0
description = 1.0

[encoder]
name = "lsa"                          # a short name or an import path "package.module:Name"
dimension = 256                       # the part's own options

[recommender]
name = "item-knn"
neighbors = 200

[rerank]                              # off unless named: a scorer learned from --impressions
name = "lambdamart"
depth = 50                            # of search's first hits

[store]
name = "postgres"                     # where the record is kept; default: embedded LanceDB
url = "env:SHOP_DATABASE"             # the variable that holds the address: no password is kept in a Space's files
search = true                         # dense search by the database itself instead of the Space's own index

[identify]                            # off unless named: semantic IDs, as `Space.identify` gives them
name = "residual-k-means"
levels = 3
```
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from itemspace.core.config import Config
from itemspace.core.errors import RecipeError, nearest, shown
from itemspace.core.plugins import find


class Part(Config):
    """A component by name with its own options; in TOML the options stand beside the name."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and "options" not in value:
            rest = {k: v for k, v in value.items() if k != "name"}
            return {"name": value.get("name"), "options": rest} if "name" in value else dict(value)
        return value

    def make(self, group: str) -> Any:
        """The component, built with these options.

        Raises:
            RecipeError: no such part, or an option it does not have; names the nearest valid one.
        """
        component = find(group, self.name)
        return component(component.config_class().parse(self.options, where=f"{group[:-1]} `{self.name}`"))


class Rerank(Part):
    """A scorer learned from the log, which reorders the first `depth` hits of the Space's search.

    It needs impressions that say what was asked. "lambdamart" (extra `learn`) or "neural-scorer" (extra `train`), over
    the scores of the Space's own words and vectors, its columns of numbers, and what the log says of items and queries.
    """

    depth: int = Field(50, ge=1, le=1_000)

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and "options" not in value:
            known = {k: v for k, v in value.items() if k in ("name", "depth")}
            return {"name": RERANKER, **known, "options": {k: v for k, v in value.items() if k not in known}}
        return value


RERANKER = "lambdamart"
"""The re-ranker where `[rerank]` has no name."""


class Identify(Part):
    """The tokenizer that gives items semantic IDs when the Space is built: see `Space.identify`."""

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and "options" not in value:
            return {
                "name": TOKENIZER,
                **{k: v for k, v in value.items() if k == "name"},
                "options": {k: v for k, v in value.items() if k != "name"},
            }
        return value


TOKENIZER = "residual-k-means"
"""The tokenizer where `[identify]` has no name."""


class Fusion(Config):
    """How the rankings of words and vectors become one.

    method: "rrf", "weighted", "z-score", or "auto". depth: candidates taken from each before fusing. weights: of (lexical,
    dense). What is left open (method "auto", weights None) is tuned on half of the judged queries where there are at
    least `min_queries`; otherwise it is reciprocal rank fusion with equal weights.
    """

    method: Literal["auto", "rrf", "weighted", "z-score"] = "auto"
    depth: int = Field(200, ge=1, le=10_000)
    weights: tuple[float, float] | None = None
    min_queries: int = Field(40, ge=2)

    @field_validator("weights")
    @classmethod
    def _usable(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not (all(0 <= weight < math.inf for weight in value) and any(value)):
            raise ValueError("the two weights should be numbers of at least 0, and one of them above 0")
        return value


class Recipe(Config):
    """Everything `Space.build` may vary.

    exact_up_to: with `index` "auto", catalogues of up to this many items are searched exactly. system: the slug of a
    published system that answers instead of the recipe's own search or recommender. rerank, identify: off unless asked for.
    """

    seed: int = Field(0, ge=0, lt=2**63)
    text: list[str] | None = Field(None, min_length=1)
    fields: dict[str, float] | None = None
    lexical: Part | None = Part(name="bm25")
    encoder: Part | None = Part(name="lsa")
    index: Part = Part(name="auto")
    fusion: Fusion = Fusion()
    recommender: Part | None = Part(name="auto")
    rerank: Rerank | None = None
    identify: Identify | None = None
    store: Part = Part(name="lancedb")
    exact_up_to: int = Field(20_000, ge=0)
    system: str | None = None

    @field_validator("fields")
    @classmethod
    def _positive(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for name, weight in (value or {}).items():
            if not 0 < weight < math.inf:
                raise ValueError(f"the weight of `{name}` should be a number above 0")
        return value

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any] | Recipe | None) -> Recipe:
        """A recipe from a TOML file, a mapping, or nothing (the defaults), with every part's options checked.

        Raises:
            RecipeError: the file cannot be read, a key is unknown, or a value does not fit; names file and key.
        """
        if isinstance(source, Recipe):
            return source
        where = "recipe"
        values: dict[str, Any] = {}
        if isinstance(source, (str, Path)):
            where = str(source)
            values = _toml(source)
        elif isinstance(source, Mapping):
            values = dict(source)
        elif source is not None:
            raise RecipeError(
                f"a recipe is the path of a TOML file or a mapping such as {{'seed': 1}}; got {shown(repr(source))}."
            )
        for section in _GROUPS:
            given = values.get(section)
            if isinstance(given, Mapping) and "name" not in given and section not in ("rerank", "identify"):
                # Options without a name belong to the default part of that section.
                default = cls.model_fields[section].default
                values[section] = {"name": default.name, **given}
            elif given is False or (isinstance(given, str) and given == "none"):
                if section in ("index", "store"):
                    raise RecipeError(f"{where}: `{section}` cannot be off; leave it out for the default.")
                values[section] = None
            elif section in values and given is not None and not isinstance(given, (str, Mapping, Part)):
                raise RecipeError(
                    f'{where}: `{section}` should be the name of a part, a table ([{section}] name = "..."), or false; '
                    f"got {shown(repr(given))}."
                )
        recipe = cls.parse(values, where=where)
        recipe.check(where)
        return recipe

    def check(self, where: str = "recipe") -> None:
        """Resolve every part and validate its options without building anything."""
        if self.lexical is None and self.encoder is None and self.recommender is None:
            raise RecipeError(f"{where}: lexical, encoder and recommender are all off; nothing would be built.")
        self._contradictions(where)
        for section, group in _GROUPS.items():
            part: Part | None = getattr(self, section)
            if part is None:
                continue
            if part.name == "auto" and section in ("index", "recommender"):
                if part.options:
                    raise RecipeError(f"{where}: [{section}] has options but no name; say which part they belong to.")
                continue
            try:
                component = find(group, part.name)
            except RecipeError as error:
                raise RecipeError(f"{where}: [{section}] {error}") from None
            unfit = _unfit(section, component)
            if unfit:
                raise RecipeError(f"{where}: [{section}] `{part.name}` {unfit}. Leave it out for the default.")
            config = component.config_class().parse(part.options, where=f"{where}: [{section}] {part.name}")
            if section == "store":
                from itemspace.store.contract import Store

                if config.search and component.searching is Store.searching:
                    raise RecipeError(f"{where}: [store] `{part.name}` does not search by itself; leave `search` out.")

    def _contradictions(self, where: str) -> None:
        """Refuse settings of which one could only be ignored."""
        stray = [name for name in self.fields or {} if self.text is not None and name not in self.text]
        if stray:
            raise RecipeError(
                f"{where}: [fields] weighs `{stray[0]}`, which `text` leaves out. Add it to `text`, or leave `text` out."
            )
        if self.fields and self.lexical is not None and "weights" in self.lexical.options:
            raise RecipeError(f"{where}: [fields] and [lexical] weights both weigh the columns; keep [fields].")
        if self.rerank is not None and self.lexical is None and self.encoder is None:
            raise RecipeError(f"{where}: [rerank] reorders what search found; turn lexical or the encoder on.")
        if self.encoder is None and self.index.name != "auto":
            raise RecipeError(
                f"{where}: `index` is {self.index.name}, but without an encoder there are no vectors to hold. "
                "Turn the encoder on, or leave `index` out."
            )

    def override(self, assignments: list[str]) -> Recipe:
        """The recipe with `section.key=value` assignments (TOML values) applied.

        Raises:
            RecipeError: an assignment cannot be read.
        """
        values: dict[str, Any] = self.to_toml_dict()
        if isinstance(assignments, str):
            raise RecipeError(f'assignments come in a list: ["{shown(assignments)}"].')
        for text in assignments:
            key, sign, raw = text.partition("=")
            if not sign:
                raise RecipeError(f'"{shown(text)}" is not key=value, such as encoder.dimension=64.')
            try:
                value = tomllib.loads(f"x = {raw}")["x"]
            except tomllib.TOMLDecodeError:
                value = raw
            path = key.strip().split(".")
            if path[0] not in type(self).model_fields:
                known = type(self).model_fields
                hint = nearest(path[0], known) or f" Valid keys: {', '.join(known)}."
                raise RecipeError(f"{shown(text)}: unknown key `{path[0]}`.{hint}")
            target = values
            for step in path[:-1]:
                if not isinstance(target.get(step), dict):
                    target[step] = {"name": target[step]} if isinstance(target.get(step), str) else {}
                target = target[step]
            if len(path) == 2 and path[1] == "name":
                values[path[0]] = {"name": value}
            else:
                target[path[-1]] = value
        return Recipe.load(values)

    def to_toml_dict(self) -> dict[str, Any]:
        """The recipe as plain values that `load` reads back (what a manifest keeps)."""
        values: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Part):
                depth = {"depth": value.depth} if isinstance(value, Rerank) else {}
                values[name] = {"name": value.name, **depth, **value.options}
            elif isinstance(value, Config):
                values[name] = value.model_dump(mode="json", exclude_none=True)
            elif value is None and name in ("lexical", "encoder", "recommender"):
                values[name] = False
            elif value is not None:
                values[name] = value
        return values


_GROUPS = {
    "lexical": "indexes",
    "encoder": "encoders",
    "index": "indexes",
    "recommender": "recommenders",
    "rerank": "scorers",
    "identify": "tokenizers",
    "store": "stores",
}
"""The sections that name a part, and the group of parts each draws from."""


def _toml(source: str | Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        RecipeError: the file is missing, unreadable or not TOML.
    """
    try:
        return tomllib.loads(Path(source).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{source}: no such file. Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{source} is not valid TOML: {error}.") from None
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise RecipeError(f'"{shown(source, 400)}" cannot be read as a TOML file: {told}.') from None


def _unfit(section: str, found: Any) -> str:
    """Why what was found cannot play the part of `section`, in words; empty when it can."""
    from itemspace.core.contracts import Encoder, Index, ItemTokenizer, Persistent, Recommender, Scorer, Trainable
    from itemspace.core.vectors import Dense, Texts
    from itemspace.store.contract import Store

    contracts = {"lexical": Index, "encoder": Encoder, "index": Index, "recommender": Recommender, "store": Store}
    if section == "rerank":
        fits = isinstance(found, type) and all(issubclass(found, one) for one in (Scorer, Trainable, Persistent))
        return "" if fits else "is not a scorer that learns and is saved, which this section needs"
    if section == "identify":
        fits = isinstance(found, type) and issubclass(found, ItemTokenizer)
        return "" if fits else "is not a tokenizer of items, which this section needs"
    contract: type = contracts[section]
    if not (isinstance(found, type) and issubclass(found, contract)):
        article = "an" if contract.__name__[0] in "EI" else "a"
        return f"is not {article} {contract.__name__.lower()}, which this section needs"
    held = {"lexical": (Texts, "words"), "index": (Dense, "one vector per item")}.get(section)
    accepts: tuple[type, ...] = getattr(found, "accepts", ())
    if held and accepts and held[0] not in accepts:
        return f"does not hold {held[1]}, which this section needs"
    return ""
