"""`LanguageModel`: what a language model is to the rest, and a scripted one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from itemspace.core.errors import RequestError


@runtime_checkable
class LanguageModel(Protocol):
    """Prompts to completions, in order. `name` identifies the weights, so that answers can be kept by it."""

    name: str

    def complete(
        self, prompts: Sequence[str], *, max_tokens: int = 256, temperature: float = 0.0, stop: Sequence[str] = ()
    ) -> list[str]:
        """One completion per prompt. With temperature 0 the same prompt gets the same completion."""
        ...


class ScriptedModel:
    """Answers by rule: a function of the prompt, or the first pattern that a prompt matches.

    For rehearsing a pipeline without a model, and for rules that need none. It keeps the prompts it was asked.
    """

    def __init__(self, answer: Callable[[str], str] | Mapping[str, str], *, name: str = "scripted") -> None:
        self.name, self.prompts = name, list[str]()
        self._answer = answer if callable(answer) else _by_pattern(answer)

    def complete(
        self, prompts: Sequence[str], *, max_tokens: int = 256, temperature: float = 0.0, stop: Sequence[str] = ()
    ) -> list[str]:
        """One completion per prompt, cut at the first of `stop` and at `max_tokens` words.

        Raises:
            RequestError: no pattern matches a prompt.
        """
        self.prompts.extend(prompts)
        return [_cut(self._answer(prompt), max_tokens, stop) for prompt in prompts]


def _by_pattern(answers: Mapping[str, str]) -> Callable[[str], str]:
    def answer(prompt: str) -> str:
        for pattern, completion in answers.items():
            if re.search(pattern, prompt):
                return completion
        raise RequestError(f"the script has no answer to: {prompt[:200]}")

    return answer


def _cut(text: str, max_tokens: int, stop: Sequence[str]) -> str:
    for mark in stop:
        text = text.split(mark, 1)[0]
    words = re.findall(r"\s*\S+", text)
    return text if len(words) <= max_tokens else "".join(words[:max_tokens])
