"""Typed, frozen configurations: defaults live once, in Python; unknown keys are refused with the nearest valid one."""

from __future__ import annotations

import importlib
import sys
import typing
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from itemspace.core.errors import RecipeError, nearest, shown


class Config(BaseModel):
    """Base of every component's configuration. Frozen; field docs and defaults are the only place they are stated."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False, validate_default=True)

    @classmethod
    def parse(cls, values: dict[str, Any] | None, *, where: str = "") -> Self:
        """A configuration from plain values (TOML, JSON), with errors that name the key and its nearest valid spelling.

        Raises:
            RecipeError: an unknown key or a value of the wrong type or range.
        """
        try:
            return cls.model_validate(values or {})
        except ValidationError as error:
            problems = []
            for item in error.errors():
                key = ".".join(str(part) for part in item["loc"])
                if item["type"] == "extra_forbidden":
                    valid = _keys(cls, item["loc"][:-1])
                    hint = nearest(str(item["loc"][-1]), valid) or f" Valid keys: {', '.join(valid) or 'none'}."
                    problems.append(f"unknown key `{key}`.{hint}")
                else:
                    problems.append(f"`{key}` {_told(dict(item))}, got {shown(repr(item.get('input')))}.")
            place = f"{where}: " if where else ""
            raise RecipeError(place + "\n".join(problems)) from None


_PLAIN = {
    "int": "should be a whole number",
    "float": "should be a number",
    "finite": "should be a finite number",
    "bool": "should be true or false",
    "string": "should be text",
    "list": "should be a list",
    "tuple": "should be a list",
    "dict": "should be a table of keys and values",
    "model": "should be a table of keys and values",
}


def _told(problem: dict[str, Any]) -> str:
    """A validation problem in the words of someone who writes TOML."""
    kind, limits = str(problem["type"]), problem.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return f"does not fit: {limits['error']}"
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"should be at {'least' if kind.startswith('g') else 'most'} {limits.get('ge', limits.get('le'))}"
    if kind == "too_short":
        return (
            f"should have at least {limits['min_length']} entries"
            if limits["min_length"] > 1
            else "should not be empty"
        )
    said = str(problem["msg"])
    return _PLAIN.get(kind.split("_")[0], said.replace("Input should", "should"))


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that the configuration at `path` inside `model` has."""
    for step in path:
        annotation = model.model_fields[str(step)].annotation if str(step) in model.model_fields else None
        inner = [
            t for t in (annotation, *typing.get_args(annotation)) if isinstance(t, type) and issubclass(t, BaseModel)
        ]
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


class Component:
    """Something configurable: its config class is read from the annotation of its `config` attribute.

    ```python
    class ItemKNN(Component):
        config: ItemKNNConfig
    ItemKNN(neighbors=100)            # keywords are config keys
    ItemKNN(ItemKNNConfig(neighbors=100))
    ```
    """

    config: Config
    _config_class: ClassVar[type[Config]] = Config

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        annotation = cls.__dict__.get("__annotations__", {}).get("config")
        if annotation is None:
            return
        cls._config_class = annotation if isinstance(annotation, type) else _LazyConfig(annotation)  # type: ignore

    def __init__(self, config: Config | None = None, /, **values: Any) -> None:
        expected = self.config_class()
        if config is not None and values:
            raise RecipeError(f"{type(self).__name__}: give a config object or keywords, not both.")
        if config is not None and not isinstance(config, expected):
            raise RecipeError(f"{type(self).__name__} takes {expected.__name__}, got {type(config).__name__}.")
        self.config = config if config is not None else expected.parse(values, where=type(self).__name__)

    @classmethod
    def config_class(cls) -> type[Config]:
        """The configuration class of this component (resolved from its annotation, wherever that is defined)."""
        found = cls._config_class
        if isinstance(found, _LazyConfig):
            for owner in cls.__mro__:
                if owner.__dict__.get("_config_class") is found:
                    found = _resolved(owner, found.annotation)
                    owner._config_class = found  # type: ignore[attr-defined]
                    break
        return found

    @classmethod
    def path(cls) -> str:
        """The import path that recipes and manifests name this component by."""
        return f"{cls.__module__}:{cls.__qualname__}"


def _resolved(owner: type, annotation: str) -> Any:
    """One string annotation of `owner`; its other annotations may name types that exist for checkers only."""
    holder = type("holder", (), {"__annotations__": {"config": annotation}, "__module__": owner.__module__})
    return typing.get_type_hints(holder, vars(sys.modules[owner.__module__]))["config"]


class _LazyConfig:
    """A config annotation written as a string (`from __future__ import annotations`), resolved on first use."""

    def __init__(self, annotation: str) -> None:
        self.annotation = annotation


def load_object(path: str) -> Any:
    """The object at import path `package.module:Name`.

    Raises:
        RecipeError: the module or the name does not exist.
    """
    module, _, name = path.partition(":")
    if not name or not module or module.startswith("."):
        raise RecipeError(f'"{path}" is not an import path; write "package.module:Name".')
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(f'cannot load "{shown(path)}": {error}.') from error
    return found
