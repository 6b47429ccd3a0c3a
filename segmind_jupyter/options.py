"""What a call takes besides its prompt, and how the two become what one call sends.

It knows nothing of the service that sends it.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from segmind_jupyter.api.cache import Caching
from segmind_jupyter.api.messages import Message, checked_json
from segmind_jupyter.api.settings import DEFAULT_MODEL, checked_seconds, checked_slug
from segmind_jupyter.content.parts import STANDARD, Limits
from segmind_jupyter.errors import SettingsError, shortened

if TYPE_CHECKING:
    from segmind_jupyter.api.watch import Call


#: Names that a model parameter cannot have, and where that is said instead.
_SET_ELSEWHERE: Final = {
    "messages": "the prompt",
    "instruction": "`system` (`-s`)",
    "model": "`model` (`-m`)",
    "timeout_s": "`timeout` (`--timeout`)",
    "cache": "`cache` (`--cache`) of `ask` and `submit`; `ask_each` has its journal",
    "self": "the client itself",
}

#: What every call takes beside the model's parameters. A real parameter is less like them.
_OWN: Final = ("cache", "max_tokens", "model", "system", "temperature", "timeout")
_MISTYPED: Final = 0.8


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a call takes that says nothing else."""

    model: str = DEFAULT_MODEL
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    timeout_s: float | None = None
    limits: Limits = STANDARD
    cache: Caching = "off"

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, check(value))

    def but(self, **changes: Any) -> Options:
        """Return a copy with other values; `None` changes nothing."""
        chosen = {name: value for name, value in changes.items() if value is not None}
        return dataclasses.replace(self, **chosen)

    def caching(self, chosen: str | None) -> Options:
        """Return a copy for a call that chose what becomes of kept replies."""
        if chosen not in (None, *get_args(Caching)):
            raise SettingsError(f"cache={chosen!r} is none of {', '.join(get_args(Caching))}.")
        if self.cache != "only":
            return self.but(cache=chosen)
        if chosen == "off":
            raise SettingsError(
                "Kept replies alone may be used here, as `ClaudeMagics.cache` is 'only', so they "
                'cannot be off for one call. `%config ClaudeMagics.cache = "on"` sends again.'
            )
        return self

    def params(self) -> dict[str, Any]:
        """Return the model parameters that are set."""
        params = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        return {name: value for name, value in params.items() if value is not None}


def call_of(
    messages: Sequence[Message],
    options: Options,
    params: Mapping[str, Any],
    *,
    own: Sequence[str] = (),
) -> Call:
    """Put together what one call sends."""
    from segmind_jupyter.api.watch import Call

    return Call(
        model=checked_slug(options.model),
        messages=messages,
        instruction=options.system,
        params={**options.params(), **checked_params(params, own=own)},
    )


def checked_params(params: Mapping[str, Any], *, own: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return model parameters if each can be one."""
    for name in params:
        if name in _SET_ELSEWHERE:
            raise SettingsError(
                f"`{name}` cannot be a model parameter: it is set by {_SET_ELSEWHERE[name]}."
            )
        near = difflib.get_close_matches(name, (*_OWN, *own), n=1, cutoff=_MISTYPED)
        if near and near != [name]:
            raise SettingsError(f"`{name}` is no parameter of a model. Did you mean `{near[0]}`?")
        if name in _CHECKS and params[name] is not None:
            _CHECKS[name](params[name])
    return checked_json(params)


def _checked_system(system: Any) -> str:
    if not isinstance(system, str):
        raise SettingsError(f"system={_brief(system)}: give a text.")
    return system


def _checked_max_tokens(max_tokens: Any) -> int:
    """Return it as Python's own kind of number; a column's is numpy's, which is no JSON."""
    try:
        count = 0 if isinstance(max_tokens, bool) else operator.index(max_tokens)
    except TypeError:
        count = 0
    if count < 1:
        raise SettingsError(f"max_tokens={_brief(max_tokens)}: give a whole number from 1 on.")
    return count


def _checked_temperature(temperature: Any) -> float:
    """Return it as Python's own kind of number."""
    is_number = isinstance(temperature, numbers.Real) and not isinstance(temperature, bool)
    if not 0 <= (temperature if is_number else math.nan) <= 1:
        raise SettingsError(f"temperature={_brief(temperature)}: give a number from 0 to 1.")
    return temperature if isinstance(temperature, int | float) else float(temperature)


def _brief(value: object) -> str:
    return shortened(repr(value))


#: What returns a value if it can work, as it is sent.
_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "system": _checked_system,
    "max_tokens": _checked_max_tokens,
    "temperature": _checked_temperature,
    "timeout_s": checked_seconds,
}
