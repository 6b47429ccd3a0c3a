"""`%%claude` and `%claude`: read the line, ask, show the reply. No more happens here."""

from __future__ import annotations

import dataclasses
import difflib
import re
import textwrap
import unicodedata
import warnings
from argparse import Namespace
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from IPython.core.error import UsageError
from IPython.core.magic import line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display

from segmind_jupyter.api.settings import KNOWN_MODELS
from segmind_jupyter.errors import BudgetError, ReplyError, SettingsError
from segmind_jupyter.notebook.config import ROWS, Defaults
from segmind_jupyter.notebook.last_error import DEFAULT_QUESTION, last_error
from segmind_jupyter.notebook.line import parse, type_at
from segmind_jupyter.notebook.namespace import Use, calling_frame, names_at, use_of_value
from segmind_jupyter.options import smallest
from segmind_jupyter.session import session
from segmind_jupyter.words import to_text

if TYPE_CHECKING:
    from segmind_jupyter.api.messages import Reply
    from segmind_jupyter.content.parts import Limits
    from segmind_jupyter.content.prompt import Prompt
    from segmind_jupyter.conversation import Conversation
    from segmind_jupyter.notebook.alt_text import AltTexts

#: What is asked where an object stands alone.
_DESCRIBE = "Describe this."


def _with_options(magic: Any) -> Any:
    """Give a magic the parser and the manual of the table of options."""
    rows = [row for row in ROWS if row.flags]
    width = max(len(row.example[0]) for row in rows)
    examples = [f"%%claude {row.example[0]:{width}}  {row.example[1]}" for row in rows]
    magic.__doc__ = (magic.__doc__ or "").replace("EXAMPLES", "\n            ".join(examples))
    for row in reversed(rows):
        magic = argument(*row.flags, dest=row.name, **row.how)(magic)
    return magic_arguments()(magic)


@magics_class
class ClaudeMagics(Defaults):
    """`%%claude` and `%claude`; `%config ClaudeMagics` lists their defaults."""

    #: What loading the extension installed with them, and unloading removes.
    hooks: Sequence[Any] = ()

    @no_var_expand
    @_with_options
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
        ``{{name}}`` sends ``{name}``. The reply is the value of the cell: ``_`` holds it, and
        ``-q`` keeps it from being shown.

        The line magic asks on a line of its own, also with a question mark at its end::

            %claude What is a violin plot?
            reply = %claude Give {df.columns} shorter names

        An example for every option::

            EXAMPLES
            %claude -- -5 degrees is how cold?          words that begin with a hyphen

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

        Of several models the value is a mapping of each name to its reply: an error is its model's
        alone. ``--blind`` shows letters and no figures until ``%claude --reveal``; ``--best A``
        keeps what you found best, and ``%segmind usage --by model`` counts it.

        ``reply.request`` shows what was sent, block by block.

        With ``--cache`` an equal request (model, options, words, pixels) is sent once: run again,
        it is answered from what was kept, without a key or a network. `%config
        ClaudeMagics.cache = "on"` does so for all cells, ``"only"`` never sends anything, and
        ``%segmind cache`` tells what is kept.

        `%config ClaudeMagics` lists the defaults and sets them:
        ``%config ClaudeMagics.model = "claude-3.5-sonnet"``.
        """
        shell: Any = self.shell
        if line.strip() in ("-h", "--help") or (cell is None and not line.strip()):
            return shell.run_line_magic("pinfo", "%claude")
        frame = calling_frame()
        names = names_at(shell, frame)
        args, words = parse(self.claude.parser, line, names=names)
        if args.reveal or args.best is not None:
            return _reveal(args, words, cell, frame)
        if args.alt and cell and cell.strip():  # called as a function: the cell is read below
            shell.run_cell(f"%%claude {line}\n{cell}").raise_error()
            return None
        if args.alt:
            (value, placed), reply = self._alt_texts(args, words).above(), None
            if placed:
                args.quiet = True
                print("The plot above has its words now.")  # noqa: T201
        elif args.code and not (words or cell or args.include or args.plot or args.error):
            value, reply = self._code_of_the_last(args, frame), None
        else:
            value, reply = self._answer(args, words, cell, names)
        if args.out:
            shell.push({args.out: value})
        use = use_of_value(frame)
        if use is Use.TAKEN or value is None:
            return value
        hook = shell.displayhook
        if args.quiet or (cell is None and words.endswith(";")):
            hook.update_user_ns(value)  # `_` holds it, as it was paid for
            if cell is None:
                hook.fill_exec_result(value)
            return None
        if reply is None or reply is value:
            if use is Use.DROPPED:
                display(value)
                hook.update_user_ns(value)
            return value
        # An object that `--json` gave: what it took stands below it.
        from segmind_jupyter.notebook.display.reply import object_bundle, provenance

        display(object_bundle(value, reply), raw=True, metadata=provenance(reply))
        hook.update_user_ns(value)
        if use is Use.SHOWN:
            hook.fill_exec_result(value)
        return None

    def begin_alt(self, line: str) -> None:
        """Describe what the code below `%%claude --alt` shows; `as_claude_cell` puts this there."""
        args, words = parse(self.claude.parser, line)
        shell: Any = self.shell
        typed = shell.history_manager.input_hist_raw[-1]
        self._alt_texts(args, words).begin(typed.partition("%%claude")[2].partition("\n")[2])

    def _alt_texts(self, args: Namespace, words: str) -> AltTexts:
        from segmind_jupyter.notebook.alt_text import AltTexts

        _check(args)
        own = re.fullmatch(r"""(['"])(.*\S.*)\1""", words, re.DOTALL)
        if words and not own:
            raise UsageError('Put words of your own in quotes: %claude --alt "Rainfall by month"')
        try:
            return AltTexts(self.shell, args, own and own[2])
        except SettingsError as error:
            raise UsageError(str(error)) from None

    def _answer(
        self, args: Namespace, words: str, cell: str | None, names: Any
    ) -> tuple[Any, Reply | None]:
        """Send it as the options say, and give the value of the cell, with the reply behind it."""
        from segmind_jupyter.asking import expected_of

        _check(args)
        if args.each is not None:
            return self._ask_each(args, words, cell, names), None
        conversation, notes = _conversation(args)
        params = dict(args.param)
        try:
            options = self.options().replace(
                cache=args.cache,
                max_tokens=args.max_tokens,
                temperature=args.temperature,
                timeout_s=args.timeout,
            )
            expected = expected_of(_kind(args, names), params, args.json)
        except SettingsError as error:
            raise UsageError(str(error)) from None
        options = options.replace(model=conversation.model, system=conversation.system)
        options = options.replace(system=_system(args, names))
        each = options.each(_models(args))
        prompt = self._prompt(args, words, cell, names, smallest(each))
        prompt = dataclasses.replace(prompt, notes=(*notes, *prompt.notes))
        goes_on = conversation if len(each) == 1 else None
        how = {"expected": expected, "queued": bool(args.job)}
        requests = [session().request(prompt, one, params, goes_on, **how) for one in each]
        if args.dry_run:
            from segmind_jupyter.batch.preview import summed

            looked = [session().preview(request) for request in requests]
            if len(looked) == 1:
                return looked[0], None
            left = [r if r.kept_at is None and not r.is_withheld else None for r in looked]
            return summed(left, session(), in_flight=len(left)), None
        if args.job:
            return session().submit(*requests), None
        if len(requests) > 1:
            from segmind_jupyter.comparison import compare

            return compare(requests, blind=bool(args.blind)), None
        reply = session().ask(*requests)
        if args.code:
            note = put_code(self.shell, reply, args.code)
            if note:
                reply = dataclasses.replace(reply, request=reply.request.noting(note))
        if expected is None:
            return reply, reply
        try:
            return reply.parsed, reply
        except ReplyError:
            if not args.quiet:
                display(reply)  # it was paid for, and is something else
            raise

    def _ask_each(self, args: Namespace, words: str, cell: str | None, names: Any) -> Any:
        """Ask the same about each row, and give the table with the replies beside its columns."""
        from segmind_jupyter.batch import ask_each
        from segmind_jupyter.content.prompt import value_at

        how: dict[str, Any] = {
            "model": _models(args),
            "system": _system(args, names),
            "json": _kind(args, names),
            "progress": not args.quiet,
            "dry_run": bool(args.dry_run),
            "max_tokens": args.max_tokens,
            "temperature": args.temperature,
            "timeout": args.timeout,
            **dict(args.param),
        }
        prompt = "\n".join(filter(None, (words, (cell or "").removesuffix("\n"))))
        asked: Any = ask_each(prompt, value_at(args.each, names, option="--each"), **how)
        if args.dry_run or args.job:
            return asked
        frame = asked.join()
        stopped = [e for e in asked.errors.values() if isinstance(e, BudgetError)]
        if stopped:
            warnings.warn(f"{len(stopped)} rows were not asked. {stopped[0]}", stacklevel=2)
        return frame

    def _prompt(
        self, args: Namespace, words: str, cell: str | None, names: Any, limits: Limits
    ) -> Prompt:
        """Put the words of the line before those of the cell, behind what is attached."""
        from segmind_jupyter.content.prompt import compose

        if words in KNOWN_MODELS and cell is not None:
            raise UsageError(f"Did you mean `%%claude -m {words}`?")
        body = (cell or "").removesuffix("\n")  # IPython ends every cell with one
        body = f"{words}\n{body}" if words and cell else words + body
        attached = bool(args.include or args.plot or args.error)
        if not body.strip(" ?" if cell is None else None):
            if not attached and cell is None:
                raise UsageError(
                    "Ask something: %claude What is a violin plot? (%%claude? has more)"
                )
            body = (DEFAULT_QUESTION if args.error else _DESCRIBE) if attached else body
        above = [last_error(self.shell, limits=limits)] if args.error else []
        if args.plot:
            from segmind_jupyter.notebook.plots.last_plot import LastPlots

            plots = LastPlots.of(self.shell)
            above += [] if plots is None else plots.sent(args.plot, limits=limits)
        return compose(
            body, names, include=args.include, raw=bool(args.raw), attached=above, limits=limits
        )

    def _code_of_the_last(self, args: Namespace, frame: FrameType | None) -> Reply | None:
        """Put the code of a reply that is there into the next cell; nothing is asked."""
        conversation = _conversation(args)[0] if args.chat else session().conversations.last()
        replies = [turn.reply for turn in conversation.turns if turn.reply]
        if not replies:
            raise UsageError("There is no reply yet whose code could be taken")
        reply = replies[-1]
        note = put_code(self.shell, reply, args.code)
        if use_of_value(frame) is Use.TAKEN:
            return reply
        if note:
            print(note)  # noqa: T201
        return None


def _models(args: Namespace) -> Any:
    """Return the model that was named, all of several, or `None`."""
    return args.model if len(args.model) > 1 else next(iter(args.model), None)


def _kind(args: Namespace, names: Mapping[str, Any]) -> Any:
    """Return the type behind `--json`; a dict without one, `None` without the option."""
    if not args.json:
        return None if args.json is None else dict
    kind = type_at(args.json, names)
    if kind is None:
        raise UsageError(f"`{args.json}` is None, and no type: `--json` takes the name of one")
    return kind


def _reveal(args: Namespace, words: str, cell: str | None, frame: FrameType | None) -> Any:
    """Tell which model said what in the last comparison; nothing is asked."""
    others = vars(args).keys() - {"reveal", "best", "quiet"}
    if words or (cell or "").strip() or any(getattr(args, name) for name in others):
        raise UsageError("`%claude --reveal` and `--best NAME` stand alone: they ask nothing")
    compared = session().compared
    if compared is None:
        raise UsageError("No models were compared yet: `%%claude -m ONE -m OTHER --blind`")
    compared.reveal(args.best)
    if use_of_value(frame) is Use.TAKEN:
        return compared
    if not args.quiet:
        display(compared)
    return None


def _check(args: Namespace) -> None:
    """Refuse options that contradict each other."""
    if args.goes_on and args.chat is not None:
        raise UsageError("Give -c or --chat NAME, not both: each of them continues (%%claude?)")
    if args.blind and len(args.model) < 2:
        raise UsageError("--blind hides which of several models said what: give -m twice")
    flags = ClaudeMagics.claude.parser._option_string_actions
    several = len(args.model) > 1 and args.each is None
    common = ("--continue", "--chat", "--code")
    alone = ("--include", "--plot", "--error", "--blind")
    for given, takes, refused, why in (
        (
            args.each is not None, "--each takes", (*common, *alone, "--raw", "--cache"),
            "its rows are asked by themselves",
        ),
        (
            args.alt, "--alt takes", (*common, *alone, "--each", "--job", "--json"),
            "it describes figures, and no more",
        ),
        (
            several, "Several models take", (*common, "--job", "--alt"),
            "the cell waits for their replies, and shows them side by side",
        ),
    ):  # fmt: skip
        for flag in refused if given else ():
            if getattr(args, flags[flag].dest) not in (None, False, []):
                raise UsageError(f"{takes} no {flag}: {why}")
    if args.language and not args.alt:
        raise UsageError("--language goes with --alt; else say in your words which language")
    if args.code and args.json is not None:
        raise UsageError("Give --code or --json, not both: a reply is code or JSON (%%claude?)")
    if args.code and args.job:
        raise UsageError(
            "--code fills the next cell while this one runs, and -j does not wait. Leave -j out, "
            "or take `job.wait().code_blocks`"
        )


def _conversation(args: Namespace) -> tuple[Conversation, list[str]]:
    """Return what the cell continues, or what a later `-c` may, with what there is to say of it."""
    if args.goes_on:
        conversation = session().conversations.last()
        return conversation, _went_before(conversation)
    if args.chat is None:
        from segmind_jupyter.conversation import Conversation

        return Conversation(), []
    from segmind_jupyter.chat import Chat

    if not args.chat.strip():
        raise UsageError("--chat takes a name, such as `--chat review`")
    known = session().conversations.names
    conversation = Chat(name=args.chat).conversation
    near = difflib.get_close_matches(conversation.name, known, n=1)
    if conversation.name in known or not near:
        return conversation, _went_before(conversation)
    return conversation, [
        f"`{conversation.name}` begins a new conversation. Did you mean `--chat {near[0]}`?"
    ]


def _went_before(conversation: Conversation) -> list[str]:
    """Say how much of a conversation goes with a cell."""
    turns = len(conversation.turns)
    where = f" in `{conversation.name}`" if conversation.name else ""
    return [f"{turns} turn{'s' if turns > 1 else ''} went before this one{where}."] if turns else []


def _system(args: Namespace, names: Mapping[str, Any]) -> str | None:
    """Read a system prompt; ``{name}`` alone is the text of that name."""
    text: str | None = args.system
    if not text or args.raw or text[0] + text[-1] != "{}":
        return text
    from segmind_jupyter.content.prompt import WHOLE_PATH, value_at

    path = text[1:-1]
    name = unicodedata.normalize("NFKC", path)  # as Python reads it; a key stays as it is
    is_alien = path.isidentifier() and not difflib.get_close_matches(name, names, n=1)
    if is_alien or not WHOLE_PATH.fullmatch(path):
        return text
    value = value_at(path, names, option="-s")
    if isinstance(value, str) and value.strip():
        return str(value)
    raise UsageError(f"`-s {text}`: `{path}` ({type(value).__name__}) is no text")


# The Python of a reply

#: What models call Python behind a fence: also ``python3.11``, ``py3`` and ``python-repl``.
_PYTHON: Final = re.compile(r"(?:i?python|py)(?:3(?:\.\d+)*)?(?:-repl)?|pycon|jupyter(?:-python)?")


def put_code(shell: Any, reply: Reply, nth: int = 1) -> str | None:
    """Put the reply's first (or nth) Python block, alone, into the next cell; nothing is run.

    A block without a language counts too, where it is the only one. The cell itself must
    call this: front ends take the next input from the answer to its execution, and insert a cell
    for it each time; the only one that they would replace is the running cell, with the prompt in
    it. So code that was run in this session already is not put once more.
    """
    found = reply.code_blocks
    is_named = any(block.language for block in found) or len(found) > 1
    named = [b.code for b in found if not is_named or _PYTHON.fullmatch(b.language.strip("{.}"))]
    # As a person would type them, without characters that hide.
    blocks = [code for code in (textwrap.dedent(to_text(each)).strip() for each in named) if code]
    if not blocks:
        return (
            "No cell was added: the reply has no Python block. Ask for the code in one fenced "
            "Python block."
        )
    if nth > len(blocks):
        return f"No cell was added: the reply has {len(blocks)} Python block(s): no block {nth}."
    code = blocks[nth - 1]
    if code in (cell.strip() for cell in shell.history_manager.input_hist_raw):
        return "No cell was added: this code was run in this session before."
    shell.set_next_input(code)
    return None
