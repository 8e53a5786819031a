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
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from itemspace.core.config import Config
from itemspace.core.errors import RecipeError, nearest
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


class Recipe(Config):
    """Everything `Space.build` may vary.

    exact_up_to: with `index` "auto", catalogues of up to this many items are searched exactly. system: the slug of a
    published system that answers instead of the recipe's own search or recommender.
    """

    seed: int = 0
    text: list[str] | None = None
    fields: dict[str, float] | None = None
    lexical: Part | None = Part(name="bm25")
    encoder: Part | None = Part(name="lsa")
    index: Part = Part(name="auto")
    fusion: Fusion = Fusion()
    recommender: Part | None = Part(name="auto")
    store: Part = Part(name="lancedb")
    exact_up_to: int = Field(20_000, ge=0)
    system: str | None = None

    @field_validator("fields")
    @classmethod
    def _positive(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for name, weight in (value or {}).items():
            if not weight > 0:
                raise ValueError(f"the weight of `{name}` must be above 0")
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
            try:
                values = tomllib.loads(Path(source).read_text(encoding="utf-8"))
            except FileNotFoundError:
                raise RecipeError(f"{source}: no such file.") from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise RecipeError(f"{source} is not valid TOML: {error}.") from None
        elif source is not None:
            values = dict(source)
        for section in ("lexical", "encoder", "index", "recommender", "store"):
            if isinstance(values.get(section), Mapping) and "name" not in values[section]:
                # Options without a name belong to the default part of that section.
                default = cls.model_fields[section].default
                values[section] = {"name": default.name, **values[section]}
            if values.get(section) in (False, "none"):
                values[section] = None
        recipe = cls.parse(values, where=where)
        recipe.check(where)
        return recipe

    def check(self, where: str = "recipe") -> None:
        """Resolve every part and validate its options without building anything."""
        if self.lexical is None and self.encoder is None and self.recommender is None:
            raise RecipeError(f"{where}: lexical, encoder and recommender are all off; nothing would be built.")
        groups = {
            "lexical": "indexes",
            "encoder": "encoders",
            "index": "indexes",
            "recommender": "recommenders",
            "store": "stores",
        }
        for section, group in groups.items():
            part: Part | None = getattr(self, section)
            if part is None:
                continue
            if part.name == "auto":
                if part.options:
                    raise RecipeError(f"{where}: [{section}] has options but no name; say which part they belong to.")
                continue
            component = find(group, part.name)
            component.config_class().parse(part.options, where=f"{where}: [{section}] {part.name}")

    def override(self, assignments: list[str]) -> Recipe:
        """The recipe with `section.key=value` assignments (TOML values) applied.

        Raises:
            RecipeError: an assignment cannot be read.
        """
        values: dict[str, Any] = self.to_toml_dict()
        for text in assignments:
            key, sign, raw = text.partition("=")
            if not sign:
                raise RecipeError(f'"{text}" is not key=value.')
            try:
                value = tomllib.loads(f"x = {raw}")["x"]
            except tomllib.TOMLDecodeError:
                value = raw
            path = key.strip().split(".")
            if path[0] not in type(self).model_fields:
                raise RecipeError(f"unknown key `{path[0]}`.{nearest(path[0], type(self).model_fields)}")
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
                values[name] = {"name": value.name, **value.options}
            elif isinstance(value, Config):
                values[name] = value.model_dump(mode="json", exclude_none=True)
            elif value is None and name in ("lexical", "encoder", "recommender"):
                values[name] = False
            elif value is not None:
                values[name] = value
        return values
