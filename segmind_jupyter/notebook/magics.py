"""`%%claude` and `%claude`: parse the line, ask, give back the reply. No more happens here."""

from __future__ import annotations

import ast
import re
import textwrap
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.settings import KNOWN_MODELS
from segmind_jupyter.errors import ReplyError, SettingsError
from segmind_jupyter.notebook import line as lines
from segmind_jupyter.notebook.config import Defaults
from segmind_jupyter.notebook.display.reply import (
    ReplyDisplay,
    footer_bundle,
    is_whole_statement,
    noting,
)
from segmind_jupyter.notebook.display.text import to_text
from segmind_jupyter.notebook.line import IsValue
from segmind_jupyter.notebook.namespace import sendable_names
from segmind_jupyter.options import Options
from segmind_jupyter.session import session

if TYPE_CHECKING:
    from segmind_jupyter.content.json_schema import Expected
    from segmind_jupyter.content.prompt import Attachment, Prompt
    from segmind_jupyter.conversation import Conversation


#: What models call Python behind a fence: also ``python3.11``, ``py3`` and ``python-repl``.
_PYTHON: Final = re.compile(r"(?:i?python|py)(?:3(?:\.\d+)*)?(?:-repl)?|pycon|jupyter(?:-python)?")

#: Lines of a session: what was typed after ``>>>``, and what went on from there.
_PROMPT: Final = re.compile(r"(?:>>>|\.\.\.)(?: |$)")


def put_code(shell: Any, reply: Reply) -> str | None:
    """Put the reply's first Python block, alone, into the next cell. Nothing is run.

    A single block without a language counts too, where it reads as Python. The cell itself must
    call this: front ends take the next input from the answer to its execution, and insert a cell
    for it each time; the only one that they would replace is the running cell, with the prompt in
    it. So code that was run in this session already is not put once more.
    """
    code = _first_python(reply, shell)
    if code is None:
        return (
            "No cell was added: the reply has no Python block. Ask for the code in one fenced "
            "Python block."
        )
    if code in (cell.strip() for cell in shell.history_manager.input_hist_raw):
        return "No cell was added: this code was run in this session before."
    shell.set_next_input(code)
    return None


def _first_python(reply: Reply, shell: Any) -> str | None:
    blocks = reply.code_blocks
    named = [block.code for block in blocks if _PYTHON.fullmatch(block.language.strip("{.}"))]
    unnamed = [block.code for block in blocks if not block.language]
    if not named and len(unnamed) == 1:
        named = [code for code in unnamed if _is_python(_typed(code), shell)]
    return next(filter(None, map(_typed, named)), None)


def _typed(code: str) -> str:
    """Return what a person would type: no prompts or results of a session, no hidden characters."""
    lines = to_text(code).split("\n")
    if any(line.startswith(">>>") for line in lines):
        lines = [_PROMPT.sub("", line, count=1) for line in lines if _PROMPT.match(line)]
    return textwrap.dedent("\n".join(lines)).strip()


def _is_python(code: str, shell: Any) -> bool:
    """Return whether it could run in a cell, with magics and shell commands."""
    try:
        ast.parse(shell.transform_cell(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return bool(code)


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What one cell asks."""

    prompt: Prompt
    options: Options
    params: Mapping[str, Any]
    conversation: Conversation
    expected: Expected | None = None

    def to(self, send: Callable[..., T], **how: Any) -> T:
        """Return it to what sends it."""
        return send(
            self.prompt,
            self.options,
            self.params,
            self.conversation,
            expected=self.expected,
            **how,
        )


def values(shell: Any) -> Mapping[str, IsValue]:
    """Tell what may be the value of an option that may also stand alone (`lines.parse`)."""

    def names_shape(word: str, rest: str) -> bool:
        from segmind_jupyter.notebook.line import is_shape

        return is_shape(word, rest, sendable_names(shell))

    return {"plot": lambda word, rest: word.isdigit(), "json": names_shape}


def read(shell: Any, args: Namespace, words: str, cell: str | None, options: Options) -> Question:
    """Read a cell."""
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
    from segmind_jupyter.notebook.last_error import DEFAULT_QUESTION

    return DEFAULT_QUESTION


def _attached(shell: Any, args: Namespace, options: Options) -> Iterator[Attachment]:
    """Return what stands above the cell: the last error, the last plots."""
    if args.error:
        from segmind_jupyter.notebook.last_error import last_error

        yield last_error(shell, limits=options.limits)
    if args.plot:
        from segmind_jupyter.notebook.plots.last_plot import LastPlots

        plots = LastPlots.of(shell)
        if plots is not None:
            yield from plots.sent(args.plot, limits=options.limits)


def _conversation(args: Namespace) -> Conversation:
    """Return what the cell continues; a new one where it stands alone, for a later `-c`."""
    if args.goes_on:
        return session().conversations.last()
    if args.chat is not None:
        from segmind_jupyter.chat import Chat

        if not args.chat.strip():
            raise UsageError("--chat takes a name, such as `--chat review`")
        return Chat(name=args.chat).conversation
    from segmind_jupyter.conversation import Conversation

    return Conversation()


def _expected(args: Namespace, names: Mapping[str, Any]) -> Expected | None:
    """Read what the reply is to be: any JSON object, or what a schema of the user's says."""
    if args.json is None:
        return None
    from segmind_jupyter.content.json_schema import expected
    from segmind_jupyter.notebook.line import shape_at

    shape = shape_at(args.json, names) if args.json else None
    return expected(shape, args.json or None)


def _params(args: Namespace, expected: Expected | None) -> dict[str, Any]:
    params = dict(args.param)
    if expected is None:
        return params
    if "response_format" in params:
        raise UsageError("--json sets `response_format`. Leave `--param response_format=` out")
    return {**params, "response_format": expected.response_format}


@magics_class
class ClaudeMagics(Defaults):
    """`%%claude` and `%claude`; `%config ClaudeMagics` lists their defaults."""

    def __init__(self, shell: Any, *, displays: ReplyDisplay, **kwargs: Any) -> None:
        super().__init__(shell, **kwargs)
        self._displays = displays

    @no_var_expand
    @magic_arguments()
    @argument("-m", "--model", metavar="MODEL", help="slug of the model (%%segmind models)")
    @argument("-s", "--system", metavar="TEXT", help="system prompt")
    @argument(
        "-i", "--include", metavar="NAME", action="append", default=[],
        help="put this object before the prompt; may be repeated",
    )  # fmt: skip
    @argument(
        "-p", "--plot", metavar="N", nargs="?", const=1, type=lines.positive_int,
        help="put the last plot that a cell showed before the prompt, or the last N",
    )  # fmt: skip
    @argument(
        "--error", action="store_true",
        help="put the last error before the prompt: message, traceback, source, values",
    )  # fmt: skip
    @argument(
        "-c", "--continue", dest="goes_on", action="store_true",
        help="continue the last exchange: the model sees what was asked and answered before",
    )  # fmt: skip
    @argument("--chat", metavar="NAME", help="continue the conversation of this name, or begin it")
    @argument(
        "-j", "--job", action="store_true",
        help="queue it and go on: a card shows how it stands, and becomes the reply",
    )  # fmt: skip
    @argument(
        "-o", "--out", metavar="NAME", type=lines.variable,
        help="assign the reply (or the job) to this variable",
    )  # fmt: skip
    @argument(
        "--code", action="store_true",
        help="put the reply's first Python block into the next cell; it is not run",
    )  # fmt: skip
    @argument(
        "--json", metavar="NAME", nargs="?", const="",
        help="ask for JSON, checked against the dict, dataclass, TypedDict or pydantic model of "
        "this name; the value of the cell is the object",
    )  # fmt: skip
    @argument(
        "--max-tokens", metavar="N", type=lines.positive_int, help="longest answer, in tokens"
    )
    @argument("-t", "--temperature", metavar="X", type=lines.share, help="from 0 to 1")
    @argument(
        "--param", metavar="KEY=VALUE", type=lines.parameter, action="append", default=[],
        help="another model parameter, forwarded as it is; may be repeated",
    )  # fmt: skip
    @argument(
        "--timeout",
        metavar="S",
        type=lines.positive_seconds,
        help="seconds to wait, 300 if not set",
    )
    @argument(
        "--cache", action="store_const", const="on",
        help="use the reply that is kept for this request, or keep the one that comes",
    )  # fmt: skip
    @argument(
        "--no-cache", dest="cache", action="store_const", const="off",
        help="ask anew, and do not keep the reply",
    )  # fmt: skip
    @argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    @argument("--raw", action="store_true", help="send the prompt as typed, whatever is in braces")
    @argument(
        "-q", "--quiet", action="store_true", help="show nothing; the reply is in _ and in -o"
    )
    @line_cell_magic
    def claude(self, line: str, cell: str | None = None) -> Any:
        """Ask a Claude model about what is in the notebook; the reply shows below the cell.

        Name objects in braces, where you speak of them::

            %%claude
            What trend does {fig} show, and does {df} support it?

        ``{name}``, ``{name.attribute}``, ``{name[0]}`` and ``{name['key']}`` are replaced by
        what they hold: figures of matplotlib, plotly, altair and bokeh, PIL images, arrays and
        image files go as pictures, tables as summaries, everything else as text. ``{_}`` and
        ``{_3}`` are what cells gave. Nothing is evaluated; what is no name stays as typed, and
        ``{{name}}`` sends ``{name}``. The reply is the value of the cell: ``_`` holds it, and a
        ``;`` at the end of the cell keeps it from being shown.

        The line magic asks on a line of its own, also with a question mark at its end::

            %claude What is a violin plot?
            reply = %claude Give {df.columns} shorter names

        An example for every option::

            %%claude -m claude-3.5-sonnet          another model, for this cell
            %%claude -s "Answer in French."        a system prompt
            %%claude -i fig -i df                  objects before the prompt
            %%claude --plot                        the last plot above, whoever drew it
            %%claude -p 2                          the last two, the newest last
            %claude --error                        what went wrong in the cell above?
            %%claude -c                            continue the last exchange
            %%claude --chat review                 continue (or begin) a conversation by its name
            %%claude -j                            go on at once; the reply comes when it is there
            %%claude -j -o job                     job.wait().text, job.status, job.cancel()
            %%claude -o answer                     answer.text, answer.usage, ...
            %%claude --code                        the reply's Python goes into the next cell
            %%claude --json                        a dict instead of prose
            %%claude --json Point -o p             p is a Point, your dataclass
            %%claude --json list[Point] -o ps      a list of them: a type without spaces
            %%claude --max-tokens 200              a short answer
            %%claude -t 0.2                        a steadier answer
            %%claude --param top_p=0.9             any parameter of the model
            %%claude --timeout 60                  wait a minute at most
            %%claude --cache                       ask once: run again, it costs nothing
            %%claude --no-cache                    ask anew, and do not keep the reply
            %%claude --dry-run                     show what would be sent, and send nothing
            %%claude --raw                         braces stay braces
            %%claude -q -o answer                  show nothing
            %claude -- -5 degrees is how cold?     words that begin with a hyphen

        Without ``-c`` and ``--chat`` a cell sends itself alone, so that cells can be run again in
        any order. A conversation keeps its model and its system prompt until ``-m`` or ``-s``
        says otherwise; what failed is no part of it. ``%segmind chat`` lists those with a name,
        and ``Chat(name="review")`` shows one as a widget.

        A job (``-j``) outlives the cell and the kernel: ``%segmind jobs`` lists them,
        ``%segmind resume ID`` takes one up, ``%segmind wait`` waits for all of them.

        ``--error`` sends the message, the traceback, the source and the values of the names on
        the line that failed; what looks like a secret is left out. Look first: ``--dry-run``.

        ``--code`` runs nothing: read what the next cell holds, and run it yourself. ``--json``
        takes the name of a dict (a JSON schema), a dataclass, a TypedDict or a pydantic model, or
        a type made of such (``list[Point]``, ``Point|None``, ``dict[str,int]``, ``int``); the
        value of the cell is the object, and a reply that does not fit is an error that keeps it.
        Of a job, ``job.wait().parsed`` is the object.

        ``reply.request`` shows what was sent, block by block.

        With ``--cache`` an equal request (model, options, words, pixels) is sent once: run again,
        it is answered from what was kept, without a key or a network. `%config
        ClaudeMagics.cache = "on"` does so for all cells, ``"only"`` never sends anything, and
        ``%segmind cache`` tells what is kept.

        `%config ClaudeMagics` lists the defaults and sets them:
        ``%config ClaudeMagics.model = "claude-3.5-sonnet"``.
        """
        shell: Any = self.shell
        args, words = lines.parse(self.claude.parser, line, values=values(shell))
        question = read(shell, args, words, cell, self.options())
        value = self._answer(question, args)
        if args.out:
            shell.push({args.out: value})
        if not (args.quiet or (cell or words).rstrip().endswith(";")):
            return value
        if cell is None:
            if is_whole_statement(shell):
                self._displays.hush(value)
            return value  # `name = %claude …;` assigns it
        shell.displayhook.update_user_ns(value)  # `_` holds it, as it was paid for
        return None

    def _answer(self, question: Question, args: Namespace) -> Any:
        """Send it as the options say, and give the value of the cell."""
        if args.dry_run:
            return question.to(session().preview, queued=args.job)
        if args.job:
            return question.to(session().submit)
        reply: Reply = question.to(session().ask)
        if args.code:
            return noting(reply, put_code(self.shell, reply))
        return reply if question.expected is None else self._parsed(reply, quiet=args.quiet)

    def _parsed(self, reply: Reply, *, quiet: bool) -> Any:
        """Read the reply as the JSON that was asked for; it is shown where it is something else."""
        try:
            value = reply.parsed
        except ReplyError:
            if not quiet:
                display(reply)
            raise
        if not quiet:
            display(footer_bundle(reply), raw=True)
        return value
