"""What a call takes besides its prompt, and what refuses it before anything is sent.

Nothing here knows who sends a call.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from segmind_jupyter.api.messages import Call, Message, checked_json
from segmind_jupyter.api.settings import (
    DEFAULT_MODEL,
    Caching,
    checked_seconds,
    checked_slug,
    model_info,
)
from segmind_jupyter.content.parts import STANDARD, Limits
from segmind_jupyter.errors import SettingsError, shortened


def checked_system(system: Any) -> str:
    """Return a system prompt, if it is a text."""
    if not isinstance(system, str):
        raise SettingsError(f"system={_brief(system)}: give a text.")
    return system


def checked_count(count: Any, name: str = "max_tokens") -> int:
    """Return it as Python's own kind of number; a column's is numpy's, which is no JSON."""
    try:
        number = 0 if isinstance(count, bool) else operator.index(count)
    except TypeError:
        number = 0
    if number < 1:
        given = _brief(count)
        raise SettingsError(f"{name}={given}: give a whole number above 0, not {given}.")
    return number


def checked_temperature(temperature: Any) -> float:
    """Return it as Python's own kind of number."""
    is_number = isinstance(temperature, numbers.Real) and not isinstance(temperature, bool)
    if not 0 <= (temperature if is_number else math.nan) <= 1:
        raise SettingsError(f"temperature={_brief(temperature)}: give a number from 0 to 1.")
    return temperature if isinstance(temperature, int | float) else float(temperature)


def _brief(value: object) -> str:
    return shortened(repr(value))


#: What refuses a value that cannot work, by its name in `Options`.
CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "system": checked_system,
    "max_tokens": checked_count,
    "temperature": checked_temperature,
    "timeout_s": checked_seconds,
}

#: Keywords that `ask`, `submit`, `ask_each` and `Chat` have.
_KEYWORDS: Final = ("model", "system", "max_tokens", "temperature", "timeout", "cache")

#: Names that a model parameter cannot have, and where that is said instead.
_SET_ELSEWHERE: Final = {
    "messages": "the prompt",
    "instruction": "`system` (`-s`)",
    "model": "`model` (`-m`)",
    "timeout_s": "`timeout` (`--timeout`)",
    "cache": "`cache` (`--cache`) of `ask` and `submit`; `ask_each` has its journal",
    "self": "the client itself",
}

#: How alike (of 1) a word and an option must be for a typing error; a real parameter is less so.
_MISTYPED: Final = 0.8


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a call takes that says nothing else."""

    model: str = DEFAULT_MODEL
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    timeout_s: float | None = None
    #: How large pictures and texts may be, before the model's own bounds are looked at.
    bounds: Limits = STANDARD
    cache: Caching = "off"
    #: What was asked for in so many words, and is no setting.
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name, check in CHECKS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, check(value))

    def replace(self, **changes: Any) -> Options:
        """Return a copy with other values; `None` changes nothing."""
        chosen = {name: value for name, value in changes.items() if value is not None}
        cache = chosen.get("cache", self.cache)
        if cache not in get_args(Caching):
            raise SettingsError(f"cache={cache!r} is none of {', '.join(get_args(Caching))}.")
        if self.cache == "only":
            chosen.pop("cache", None)
            if cache == "off":
                raise SettingsError(
                    "Kept replies alone may be used here, as `ClaudeMagics.cache` is 'only', so "
                    'they cannot be off for one call. `%config ClaudeMagics.cache = "on"` sends '
                    "again."
                )
        return dataclasses.replace(self, **chosen, given=self.given | chosen.keys())

    def each(self, model: Any) -> list[Options]:
        """Return a copy for each of several models, or for the one."""
        if not isinstance(model, list | tuple):
            return [self if model is None else self.replace(model=model)]
        if not model or len({*map(checked_slug, model)}) < len(model):
            raise SettingsError(f"model={_brief(model)}: name each model once, and at least one.")
        return [self.replace(model=slug) for slug in model]

    @property
    def limits(self) -> Limits:
        """How large pictures and texts may be: those of a model that sees more may be larger."""
        info = model_info(self.model)
        if self.bounds.image_edge_px != STANDARD.image_edge_px:
            return self.bounds
        return dataclasses.replace(
            self.bounds, image_edge_px=info.image_edge_px, image_tokens=info.image_tokens
        )

    def left_out(self) -> list[str]:
        """Say which settings the model does not take."""
        refused = model_info(self.model).refused_params & (self.params().keys() - self.given)
        return [
            f"`{name}` of `%config ClaudeMagics` was left out: {self.model} takes none."
            for name in sorted(refused)
        ]

    def params(self) -> dict[str, Any]:
        """Return the model parameters that are set."""
        params = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        return {name: value for name, value in params.items() if value is not None}


def smallest(each: Sequence[Options]) -> Limits:
    """Return the limits that all of them bear, so that all get the same pixels."""
    return min((options.limits for options in each), key=lambda limits: limits.image_tokens)


def one_model(model: Any) -> str | None:
    """Refuse a list of models where one reply is to come."""
    if isinstance(model, list | tuple):
        raise SettingsError(
            f"model={_brief(model)}: several models are compared by `ask`, `ask_each` and cells "
            "alone. Name one."
        )
    named: str | None = model
    return named


def call_of(
    messages: Sequence[Message],
    options: Options,
    params: Mapping[str, Any],
    *,
    own: Sequence[str] = (),
) -> Call:
    """Put together what one call sends; `own` are further keywords of what was called."""
    model = checked_slug(options.model)
    refused = model_info(model).refused_params
    settings = {name: value for name, value in options.params().items() if name not in refused}
    for name in sorted(refused & (params.keys() | (options.params().keys() & options.given))):
        raise SettingsError(
            f"{model} takes no `{name}`, and would refuse the request. Leave it out, or ask "
            f"another model (`-m {DEFAULT_MODEL}`)."
        )
    return Call(
        model=model,
        messages=messages,
        instruction=options.system,
        params={**settings, **checked_params(params, own=own)},
    )


def checked_params(params: Mapping[str, Any], *, own: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return model parameters if each can be one."""
    for name, value in params.items():
        if name in _SET_ELSEWHERE:
            raise SettingsError(
                f"`{name}` cannot be a model parameter: it is set by {_SET_ELSEWHERE[name]}."
            )
        if name in ("tools", "tool_choice"):
            raise SettingsError(f"Segmind does not forward `{name}` to the model. Leave it out.")
        near = difflib.get_close_matches(name, (*_KEYWORDS, *own), n=1, cutoff=_MISTYPED)
        if near and near != [name]:
            raise SettingsError(f"`{name}` is no parameter of a model. Did you mean `{near[0]}`?")
        if name in CHECKS and value is not None:
            CHECKS[name](value)
    return checked_json(params)
