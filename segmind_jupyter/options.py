"""What a call takes besides its prompt, and how the two become what one call sends.

It knows nothing of the service that sends it.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from segmind_jupyter.api.messages import Message
from segmind_jupyter.api.models import DEFAULT_MODEL, checked_slug
from segmind_jupyter.api.reply_cache import Caching
from segmind_jupyter.content.parts import STANDARD, Limits
from segmind_jupyter.errors import SettingsError

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
    """What a call takes that says nothing else.

    Parameters
    ----------
    model
        Slug of the model.
    system
        System prompt.
    max_tokens
        Longest answer, in tokens; the model's own bound if `None`.
    temperature
        From 0 to 1; the model's own if `None`.
    timeout_s
        Seconds to wait for the answer; 300 if `None`.
    limits
        How large the objects of a prompt may become.
    cache
        What becomes of kept replies: ``"off"`` neither reads nor keeps any, ``"on"`` does both,
        ``"only"`` reads them and never sends anything. A batch has its journal in their place.
    """

    model: str = DEFAULT_MODEL
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    timeout_s: float | None = None
    limits: Limits = STANDARD
    cache: Caching = "off"

    def but(self, **changes: Any) -> Options:
        """Give a copy with other values; `None` changes nothing."""
        chosen = {name: value for name, value in changes.items() if value is not None}
        return dataclasses.replace(self, **chosen)

    def caching(self, chosen: str | None) -> Options:
        """Give a copy for a call that chose what becomes of kept replies.

        Parameters
        ----------
        chosen
            As `cache`; `None` changes nothing. Where ``"only"`` holds for all calls, it holds for
            this one too.

        Raises
        ------
        SettingsError
            It is none of the three; or it is ``"off"`` where nothing may be sent.
        """
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
        """Give the model parameters that are set."""
        params = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        return {name: value for name, value in params.items() if value is not None}


def call_of(
    messages: Sequence[Message],
    options: Options,
    params: Mapping[str, Any],
    *,
    own: Sequence[str] = (),
) -> Call:
    """Put together what one call sends.

    Parameters
    ----------
    messages, options
        What is asked, and how.
    params, own
        As `checked_params` takes them.

    Raises
    ------
    SettingsError
        The model is no slug, or as `checked_params` does.
    """
    from segmind_jupyter.api.watch import Call

    return Call(
        model=checked_slug(options.model),
        messages=messages,
        instruction=options.system,
        params={**options.params(), **checked_params(params, own=own)},
    )


def checked_params(params: Mapping[str, Any], *, own: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return model parameters if none has the name of something that is set elsewhere.

    Parameters
    ----------
    params
        What is to go to the model as it is.
    own
        Further arguments of the function that takes them.

    Raises
    ------
    SettingsError
        One has, and the message names the place; or it is a mistyped argument.
    """
    for name in params:
        if name in _SET_ELSEWHERE:
            raise SettingsError(
                f"`{name}` cannot be a model parameter: it is set by {_SET_ELSEWHERE[name]}."
            )
        near = difflib.get_close_matches(name, (*_OWN, *own), n=1, cutoff=_MISTYPED)
        if near and near != [name]:
            raise SettingsError(f"`{name}` is no parameter of a model. Did you mean `{near[0]}`?")
    return params
