"""The one table of options, which the magic's line, `%config`, `ask` and docs/ follow.

A new option is a row of `OPTIONS`, and what it does. Nothing here knows who sends a call.
"""

from __future__ import annotations

import dataclasses
import difflib
import keyword
import math
import numbers
import operator
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from segmind_jupyter.api.messages import Call, Message, checked_json
from segmind_jupyter.api.settings import (
    DEFAULT_MODEL,
    READ_TIMEOUT_S,
    AuthForm,
    Caching,
    checked_seconds,
    checked_slug,
    model_info,
)
from segmind_jupyter.content.parts import PATCH_PX, STANDARD, Limits
from segmind_jupyter.errors import SettingsError, shortened

#: When the end of a cell waits for the jobs that are under way.
WAITS: Final = ("headless", "always", "never")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A trait of `%config ClaudeMagics`: what holds where a call says nothing else."""

    default: Any
    words: str
    type: type = str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Option:
    """A row of the table."""

    #: Its name in Python: a keyword of `ask`, a trait, an attribute of the line that was read.
    name: str
    #: What it does, as the manual and the documentation say it.
    words: str = ""
    #: How it is written on a magic's line; nothing where it is a setting alone.
    flags: tuple[str, ...] = ()
    #: What stands behind the flag: nothing behind a switch, ``[N]`` where it may be left out.
    value: str = ""
    #: What its text on the line is read as, and what refuses a value that cannot work.
    type: Callable[[str], Any] = str
    check: Callable[[Any], Any] = lambda value: value
    #: What a flag without a value says.
    alone: Any = True
    many: bool = False
    #: A line of the manual: the options, and what they are good for.
    example: tuple[str, str] = ("", "")
    #: Whether `ask`, `submit`, `ask_each` and `Chat` take it as a keyword.
    in_calls: bool = False
    setting: Setting | None = None

    @property
    def field(self) -> str:
        """Its name in `Options`, where seconds are told by their name."""
        return "timeout_s" if self.name == "timeout" else self.name


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


def checked_cache(cache: Any) -> Caching:
    """Return what becomes of kept replies, if it is a word for that."""
    if cache not in get_args(Caching):
        raise SettingsError(f"cache={cache!r} is none of {', '.join(get_args(Caching))}.")
    chosen: Caching = cache
    return chosen


def _brief(value: object) -> str:
    return shortened(repr(value))


def _whole(text: str) -> Any:
    return int(text) if text.isascii() and text.isdigit() else text


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _name(text: str) -> str:
    """Read the name of a variable to assign to, as Python spells it."""
    name = unicodedata.normalize("NFKC", text)
    if not name.isidentifier() or keyword.iskeyword(name):
        raise SettingsError(f"{text!r} cannot be the name of a variable")
    return name


def _parameter(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``; the value is JSON where it is that, and else a text."""
    import json

    key, equals, value = text.partition("=")
    if not (key and equals):
        raise SettingsError(f"{text!r} is not of the form KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        if value.lstrip()[:1] in ("[", "{"):
            raise SettingsError(
                f"{key}: {shortened(value)} is broken JSON. Write it as in "
                '`--param stop_sequences=["END"]`; a text goes in double quotes within single ones.'
            ) from None
        return key, value


#: In the order of the documentation. A row without `flags` is a setting of `%config` alone.
OPTIONS: Final = (
    Option(
        name="model", flags=("-m", "--model"), value="MODEL", many=True, in_calls=True,
        words="another model: any Claude model's slug at Segmind (`%segmind models` lists some); "
        "of several, each with a `-m`, all are asked at once, and stand side by side",
        example=("-m claude-3.5-sonnet", "another model, for this cell; a second `-m` compares"),
        setting=Setting(default=DEFAULT_MODEL, words="Model of a call that names none with -m."),
    ),
    Option(
        name="system", flags=("-s", "--system"), value="TEXT", in_calls=True, check=checked_system,
        words="system prompt; `-s {name}` takes that of a variable",
        example=('-s "Answer in French."', "a system prompt"),
        setting=Setting(default="", words="System prompt of a call that gives none with -s."),
    ),
    Option(
        name="blind", flags=("--blind",),
        words="hide which of several models said what, until `%claude --reveal`",
        example=("-m ONE -m OTHER --blind", "two models side by side, as A and B"),
    ),
    Option(
        name="reveal", flags=("--reveal",),
        words="`%claude --reveal` alone tells which model said what in the last comparison",
        example=("--reveal", "which model was A?"),
    ),
    Option(
        name="best", flags=("--best",), value="NAME",
        words="`%claude --best A` alone reveals too, and keeps that A (or a model) was the best of "
        "them, for `%segmind usage --by model`",
        example=("--best A", "A was the best: kept, and revealed"),
    ),
    Option(
        name="include", flags=("-i", "--include"), value="NAME", many=True,
        words="put this object before the prompt; may be repeated",
        example=("-i fig -i df", "objects before the prompt"),
    ),
    Option(
        name="plot", flags=("-p", "--plot"), value="[N]", type=_whole, alone=1,
        check=lambda count: checked_count(count, "plot"),
        words="put the last plot that a cell showed (or the last N) before the prompt, whoever "
        "drew it",
        example=("--plot", "the last plot above, whoever drew it; `-p 2` the last two"),
    ),
    Option(
        name="alt", flags=("--alt",),
        words="describe each figure of the cell's code, or the plot above, for those who cannot "
        "see it; words in quotes are taken instead",
        example=("--alt", "above plotting code: runs it; each figure gets an alternative text"),
    ),
    Option(
        name="language", flags=("--language",), value="TAG",
        words="language of the texts of `--alt`: `de`, `pt-BR`, several as `de,fr`",
        example=("--alt --language de,en", "the texts in two languages"),
    ),
    Option(
        name="error", flags=("--error",),
        words="put the last error before the prompt; `%claude --error` alone asks what went wrong",
        example=("--error", "what went wrong in the cell above?"),
    ),
    Option(
        name="each", flags=("--each",), value="NAME",
        words="ask the same about each row of a table (`{column}`) or item of a list (`{item}`), "
        "as `ask_each` does; the value is the table with the replies beside its own columns",
        example=("--each df --json Complaint -o out", "every row; a column a field"),
    ),
    Option(
        name="goes_on", flags=("-c", "--continue"),
        words="continue the last exchange; without it a cell sends itself alone",
        example=("-c", "continue the last exchange"),
    ),
    Option(
        name="chat", flags=("--chat",), value="NAME",
        words="continue the conversation of this name, or begin it; `Chat(name=NAME)` is the same "
        "one",
        example=("--chat review", "continue (or begin) a conversation by its name"),
    ),
    Option(
        name="job", flags=("-j", "--job"),
        words="queue it and go on: a card shows how it stands, and becomes the reply",
        example=("-j -o job", "go on at once; job.wait().text, job.status, job.cancel()"),
    ),
    Option(
        name="out", flags=("-o", "--out"), value="NAME", type=_name,
        words="assign the reply (or the job, or the object of `--json`) to this variable",
        example=("-o answer", "answer.text, answer.usage, ..."),
    ),
    Option(
        name="code", flags=("--code",), value="[N]", type=_whole, alone=1,
        check=lambda count: checked_count(count, "code"),
        words="put the reply's first (or Nth) Python block into the next cell; it is never run. "
        "`%claude --code` alone takes it from the last reply, and asks nothing",
        example=("--code", "the reply's Python goes into the next cell"),
    ),
    Option(
        name="json", flags=("--json",), value="[NAME]", alone="",
        words="ask for JSON, checked against a dict, dataclass, TypedDict, pydantic model or a "
        "type such as `list[Trend]`; the value is the object",
        example=("--json Point -o p", "p is a Point, your dataclass; `--json` alone gives a dict"),
    ),
    Option(
        name="max_tokens", flags=("--max-tokens",), value="N", type=_whole, in_calls=True,
        check=checked_count,
        words="longest answer, in tokens",
        example=("--max-tokens 200", "a short answer"),
        setting=Setting(
            default=None, type=int, least=1,
            words="Longest answer in tokens; the model's bound if None.",
        ),
    ),
    Option(
        name="temperature", flags=("-t", "--temperature"), value="X", type=_number, in_calls=True,
        check=checked_temperature,
        words="from 0 to 1",
        example=("-t 0.2", "a steadier answer"),
        setting=Setting(
            default=None, type=float, least=0, most=1,
            words="From 0 to 1; the model's own if None.",
        ),
    ),
    Option(
        name="param", flags=("--param",), value="KEY=VALUE", type=_parameter, many=True,
        words="any other parameter of the model, JSON or a text; may be repeated",
        example=('--param stop_sequences=["END"]', "any parameter of the model"),
    ),
    Option(
        name="timeout", flags=("--timeout",), value="S", type=_number, in_calls=True,
        check=checked_seconds,
        words="seconds to wait (of a job: to submit it), 300 if not set",
        example=("--timeout 60", "wait a minute at most"),
        setting=Setting(
            default=READ_TIMEOUT_S, type=float, least=0.1, words="Seconds to wait for an answer."
        ),
    ),
    Option(
        name="cache", flags=("--cache",), alone="on", check=checked_cache,
        words="use the kept reply to the same request, or keep the one that comes",
        example=("--cache", "ask once: run again, it costs nothing"),
        setting=Setting(
            default="off", choices=get_args(Caching),
            words="Kept replies to equal requests: 'on' uses them, and keeps what is new; 'only' "
            "uses them and sends nothing, without a key or a network; 'off' does neither. "
            "`ask_each` looks into its journal instead.",
        ),
    ),
    Option(
        name="cache", flags=("--no-cache",), alone="off",
        words="ask anew, and do not keep the reply",
        example=("--no-cache", "ask anew, and do not keep the reply"),
    ),
    Option(
        name="dry_run", flags=("--dry-run",),
        words="show what would be sent, block by block, and send nothing",
        example=("--dry-run", "show what would be sent, and send nothing"),
    ),
    Option(
        name="raw", flags=("--raw",),
        words=r"send braces as they are (`\frac{a}{b}` where `a` is a variable)",
        example=("--raw", "braces stay braces"),
    ),
    Option(
        name="quiet", flags=("-q", "--quiet"),
        words="show nothing; the reply is in `_` (so does a `;` at the end of a `%claude` line)",
        example=("-q -o answer", "show nothing"),
    ),
    Option(
        name="image_edge",
        setting=Setting(
            default=STANDARD.image_edge_px, type=int, least=PATCH_PX, most=8000,
            words="Longest side of a sent image in pixels: 1568 is the most that standard models "
            "look at, 2576 the most of high-resolution ones.",
        ),
    ),
    Option(
        name="table_tokens",
        setting=Setting(
            default=STANDARD.table_tokens, type=int, least=50,
            words="Tokens that the summary of a table may take.",
        ),
    ),
    Option(
        name="text_chars",
        setting=Setting(
            default=STANDARD.text_chars, type=int, least=100,
            words="Characters of a named text; what is longer is cut.",
        ),
    ),
    Option(
        name="auth",
        setting=Setting(
            default="auto", choices=get_args(AuthForm), words="Form in which the key is sent."
        ),
    ),
    Option(
        name="keep_loop_alive",
        setting=Setting(
            default=False, type=bool,
            words="Let your asyncio tasks run while a cell waits for a reply. True patches the "
            "kernel's event loop with nest_asyncio2 at once; False stops using the patch, but only "
            "a restart of the kernel removes it.",
        ),
    ),
    Option(
        name="journal",
        setting=Setting(
            default=True, type=bool,
            words="Keep ids and replies of jobs, and what `cache` keeps, in a file that outlives "
            "the kernel; never the key, and words of yours by `keep_chats` alone. False keeps them "
            "in memory.",
        ),
    ),
    Option(
        name="keep_chats",
        setting=Setting(
            default=False, type=bool,
            words="Keep what is said in conversations that have a name, so that the next kernel "
            "goes on: in the journal, with your words and pictures.",
        ),
    ),
    Option(
        name="footer",
        setting=Setting(
            default="full", choices=("full", "line", "off"),
            words="What stands under a reply: 'full' what it took and what was sent, with "
            "thumbnails; 'line' one quiet line; 'off' nothing. Notes on what was left out stay.",
        ),
    ),
    Option(
        name="wait_for_jobs",
        setting=Setting(
            default="headless", choices=WAITS,
            words="When a cell that begins jobs ends only with their replies: 'headless' where no "
            "front end can ask anything (nbconvert --execute, papermill), 'always', or 'never'.",
        ),
    ),
)  # fmt: skip

_CALLS: Final = {option.field: option for option in OPTIONS if option.in_calls}

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
        for name, option in _CALLS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, option.check(value))

    def replace(self, **changes: Any) -> Options:
        """Return a copy with other values; `None` changes nothing."""
        chosen = {name: value for name, value in changes.items() if value is not None}
        cache = checked_cache(chosen.get("cache", self.cache))
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
            return [self.replace(model=model)]
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
    keywords = ("cache", *(option.name for option in _CALLS.values()))
    for name, value in params.items():
        if name in _SET_ELSEWHERE:
            raise SettingsError(
                f"`{name}` cannot be a model parameter: it is set by {_SET_ELSEWHERE[name]}."
            )
        if name in ("tools", "tool_choice"):
            raise SettingsError(f"Segmind does not forward `{name}` to the model. Leave it out.")
        near = difflib.get_close_matches(name, (*keywords, *own), n=1, cutoff=_MISTYPED)
        if near and near != [name]:
            raise SettingsError(f"`{name}` is no parameter of a model. Did you mean `{near[0]}`?")
        if name in _CALLS and value is not None:
            _CALLS[name].check(value)
    return checked_json(params)
