"""What a `%%claude` cell asks: its options and its words, read into what the service takes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.error import UsageError

from segmind_jupyter.api.models import KNOWN_MODELS
from segmind_jupyter.asking import Options, service
from segmind_jupyter.errors import SettingsError
from segmind_jupyter.notebook.line import IsValue
from segmind_jupyter.notebook.names import sendable_names

if TYPE_CHECKING:
    from segmind_jupyter.api.conversation import Conversation
    from segmind_jupyter.content.expected import Expected
    from segmind_jupyter.content.prompt import Prompt
    from segmind_jupyter.content.sent import SentItem

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What one cell asks.

    Parameters
    ----------
    prompt, options, params, conversation, expected
        As `Service.ask` takes them.
    """

    prompt: Prompt
    options: Options
    params: Mapping[str, Any]
    conversation: Conversation
    expected: Expected | None = None

    def to(self, send: Callable[..., T], **how: Any) -> T:
        """Give it to what sends it."""
        return send(
            self.prompt,
            self.options,
            self.params,
            self.conversation,
            expected=self.expected,
            **how,
        )


def values(shell: Any) -> Mapping[str, IsValue]:
    """Tell what may be the value of an option that may also stand alone (`line.parse`)."""

    def names_shape(word: str, rest: str) -> bool:
        from segmind_jupyter.notebook.shapename import is_shape

        return is_shape(word, rest, sendable_names(shell))

    return {"plot": lambda word, rest: word.isdigit(), "json": names_shape}


def read(shell: Any, args: Namespace, words: str, cell: str | None, options: Options) -> Question:
    """Read a cell.

    Parameters
    ----------
    shell
        Whose variables, plots and errors it speaks of.
    args
        Its options.
    words
        What stands behind them on the line.
    cell
        The lines below; `None` for the line magic.
    options
        What a call takes that says nothing else.

    Raises
    ------
    UsageError
        The options contradict each other, or nothing is asked.
    ContentError
        Something that is named cannot be sent, or there is nothing to send.
    """
    from segmind_jupyter.content.prompt import compose

    _check(args)
    body = _body(words, cell, alone=not (args.include or args.plot or args.error))
    conversation = _conversation(args)
    options = _caching(options, args)
    options = options.but(model=conversation.model, system=conversation.system).but(
        model=args.model,
        system=args.system,
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        timeout_s=args.timeout,
    )
    names = sendable_names(shell)
    expected = _expected(args, names)
    prompt = compose(
        _asked(body, args),
        names,
        include=args.include,
        raw=args.raw,
        attached=list(_attached(shell, args, options)),
        limits=options.limits,
    )
    return Question(
        prompt=prompt,
        options=options,
        params=_params(args, expected),
        conversation=conversation,
        expected=expected,
    )


def _check(args: Namespace) -> None:
    """Refuse options that contradict each other."""
    if args.goes_on and args.chat is not None:
        raise UsageError("Give -c or --chat NAME, not both: each of them continues (%%claude?)")
    if args.code and args.json is not None:
        raise UsageError("Give --code or --json, not both: a reply is code or JSON (%%claude?)")
    if args.code and args.job:
        raise UsageError(
            "--code fills the next cell while this one runs, and -j does not wait. Leave -j out, "
            "or take `job.wait().code_blocks`"
        )


def _caching(options: Options, args: Namespace) -> Options:
    try:
        return options.caching(args.cache)
    except SettingsError as error:
        raise UsageError(str(error)) from None


def _body(words: str, cell: str | None, *, alone: bool) -> str:
    """Put the words of the line before those of the cell, both as they were typed."""
    if cell is None:
        if alone and not words.strip(" ?"):
            raise UsageError("Ask something: %claude What is a violin plot? (%%claude? has more)")
        return words
    if words in KNOWN_MODELS:
        raise UsageError(f"Did you mean `%%claude -m {words}`?")
    body = cell.removesuffix("\n")  # IPython ends every cell with one
    return f"{words}\n{body}" if words else body


def _asked(body: str, args: Namespace) -> str:
    """Ask the usual question about an error where none is asked."""
    if body.strip() or not args.error:
        return body
    from segmind_jupyter.notebook.lasterror import DEFAULT_QUESTION

    return DEFAULT_QUESTION


def _attached(shell: Any, args: Namespace, options: Options) -> Iterator[SentItem]:
    """Give what stands above the cell: the last error, the last plots."""
    if args.error:
        from segmind_jupyter.notebook.lasterror import last_error

        yield last_error(shell, limits=options.limits)
    if args.plot:
        from segmind_jupyter.notebook.lastplot import LastPlots

        plots = LastPlots.of(shell)
        if plots is not None:
            yield from plots.sent(args.plot, limits=options.limits)


def _conversation(args: Namespace) -> Conversation:
    """Give what the cell continues; a new one where it stands alone, for a later `-c`."""
    if args.goes_on:
        return service().conversations.last()
    if args.chat is not None:
        from segmind_jupyter.chat import Chat

        if not args.chat.strip():
            raise UsageError("--chat takes a name, such as `--chat review`")
        return Chat(name=args.chat).conversation
    from segmind_jupyter.api.conversation import Conversation

    return Conversation()


def _expected(args: Namespace, names: Mapping[str, Any]) -> Expected | None:
    """Read what the reply is to be: any JSON object, or what a schema of the user's says."""
    if args.json is None:
        return None
    from segmind_jupyter.content.expected import expected
    from segmind_jupyter.notebook.shapename import shape_at

    shape = shape_at(args.json, names) if args.json else None
    return expected(shape, args.json or None)


def _params(args: Namespace, expected: Expected | None) -> dict[str, Any]:
    params = dict(args.param)
    if expected is None:
        return params
    if "response_format" in params:
        raise UsageError("--json sets `response_format`. Leave `--param response_format=` out")
    return {**params, "response_format": expected.response_format}
