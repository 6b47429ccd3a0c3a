"""What a call takes besides its prompt: refused at once, or taken by the service."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segmind_jupyter import Chat, ask, ask_each, submit
from segmind_jupyter.api.messages import request_body, user_message
from segmind_jupyter.errors import SettingsError
from segmind_jupyter.notebook.magics import ClaudeMagics
from segmind_jupyter.options import Options, call_of
from segmind_jupyter.session import session
from segmind_jupyter.simulator.requests import read_chat

HELLO = [user_message([{"type": "text", "text": "Hello"}])]

#: What people write where a number or a text belongs, and what computed values may be.
ODD = st.one_of(
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.floats(0, 1),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.complex_numbers(),
    st.fractions(),
    st.lists(st.integers(), max_size=2),
    st.sampled_from([(), {}, object(), int, math.nan, "5", "1e3", "nan", 10**400]),
    st.integers(-3, 3).map(np.int64),
    st.floats(width=32).map(np.float32),
    st.sampled_from([np.float64("nan"), np.bool_(True), np.array(1), np.array([1, 2])]),
)


@given(name=st.sampled_from(["system", "max_tokens", "temperature", "timeout_s"]), value=ODD)
@example(name="temperature", value=True)
@example(name="max_tokens", value=1.0)
def test_a_value_is_refused_at_once_or_accepted_by_the_service(name: str, value: Any):
    """Nothing that cannot work is sent and refused there."""
    try:
        options = Options(**{name: value})
    except SettingsError:
        return
    call = call_of(HELLO, options, {})
    body = request_body(call.messages, instruction=call.instruction, **call.params)
    read_chat(json.dumps(body).encode())
    assert options.timeout_s is None or 0 < options.timeout_s < math.inf


#: Arguments that cannot work, and what the message says of each.
BAD = [
    ({"system": 5}, "system=5"),
    ({"max_tokens": -1}, "max_tokens=-1"),
    ({"max_tokens": "5"}, "max_tokens='5'"),
    ({"max_tokens": True}, "max_tokens=True"),
    ({"temperature": 7}, "temperature=7"),
    ({"temperature": math.nan}, "temperature=nan"),
    ({"timeout": -3}, "seconds, not -3"),
    ({"timeout": "x"}, "seconds, not 'x'"),
    ({"timeout": math.inf}, "seconds, not inf"),
    ({"timeout": True}, "seconds, not True"),
    ({"top_p": math.nan}, "top_p=nan"),
    ({"stop": object()}, "stop=<object"),
    ({"stream": True}, "does not stream"),
    ({"tools": []}, "does not forward `tools`"),
]


def batch(words: str, **arguments: Any) -> object:
    return ask_each(words, ["a"], **arguments)


def chat(words: str, **arguments: Any) -> object:
    return Chat(**arguments)


@pytest.mark.parametrize("door", [ask, submit, batch, chat])
@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_every_door_refuses_what_cannot_work(
    recorder: Any,
    monkeypatch: pytest.MonkeyPatch,
    door: Callable[..., object],
    arguments: dict[str, Any],
    said: str,
):
    """The message names the value; nothing is sent, and nothing is under way."""
    monkeypatch.setenv("SEGMIND_API_KEY", "sk-live-0123456789abcdef")
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    with pytest.raises(SettingsError, match=said):
        door("Hi", **arguments)
    assert recorder.requests == []
    assert session().pending == ()


@pytest.mark.parametrize("params", [{"max_tokens": 0}, {"temperature": "warm"}])
def test_a_parameter_is_checked_under_its_own_name_too(params: dict[str, Any]):
    """As `%%claude --param` gives it."""
    with pytest.raises(SettingsError, match=next(iter(params))):
        call_of(HELLO, Options(), params)


def test_the_tables_of_the_documentation_say_what_the_manual_and_config_say():
    """Word by word, options in its order; the functions have the keywords that it names."""
    page = Path(__file__).parent.parent / "docs" / "reference" / "options.md"
    rows = [row for row in page.read_text(encoding="utf-8").splitlines() if row.startswith("| `")]
    options = []
    for action in ClaudeMagics.claude.parser._actions:
        flags = ", ".join(f"`{flag}`" for flag in action.option_strings)[:-1]
        value = "" if action.metavar is None else f" {action.metavar}"
        value = f" [{action.metavar}]" if action.nargs == "?" else value
        options.append(f"| {flags}{value}` | {action.help.replace('%%', '%')} |")
    assert rows[: len(options)] == options
    traits = ClaudeMagics.class_traits(config=True).items()
    settings = [f"| `{name}` | {trait.default()!r} | {trait.help} |" for name, trait in traits]
    assert sorted(rows[len(options) :]) == sorted(settings)
    for function in (ask, submit, ask_each, Chat):
        keywords = inspect.signature(function).parameters
        for name in ("model", "system", "max_tokens", "temperature", "timeout"):
            assert keywords[name].kind is inspect.Parameter.KEYWORD_ONLY
            assert keywords[name].default is None
