"""What a call takes besides its prompt, and how the two become what one call sends.

It knows nothing of the service that sends it.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.api.messages import Message
from segmind_jupyter.api.models import DEFAULT_MODEL, checked_slug
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
    "self": "the client itself",
}

#: What every call takes beside the model's parameters. A real parameter is less like them.
_OWN: Final = ("max_tokens", "model", "system", "temperature", "timeout")
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
    """

    model: str = DEFAULT_MODEL
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    timeout_s: float | None = None
    limits: Limits = STANDARD

    def but(self, **changes: Any) -> Options:
        """Give a copy with other values; `None` changes nothing."""
        chosen = {name: value for name, value in changes.items() if value is not None}
        return dataclasses.replace(self, **chosen)

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
