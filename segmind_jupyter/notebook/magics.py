"""`%%claude` and `%claude`: parse the line, ask, give back the reply. No more happens here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from segmind_jupyter.api.models import KNOWN_MODELS
from segmind_jupyter.asking import service
from segmind_jupyter.notebook import line as lines
from segmind_jupyter.notebook.defaults import Defaults
from segmind_jupyter.notebook.names import sendable_names
from segmind_jupyter.notebook.shown import ReplyDisplay

if TYPE_CHECKING:
    from segmind_jupyter.api.conversation import Conversation
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.messages import Reply


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
    @argument("--raw", action="store_true", help="send the prompt as typed, whatever is in braces")
    @argument(
        "-q", "--quiet", action="store_true", help="show nothing; the reply is in _ and in -o"
    )
    @line_cell_magic
    def claude(self, line: str, cell: str | None = None) -> Reply | Job | None:
        """Ask a Claude model about what is in the notebook; the reply shows below the cell.

        Name objects in braces, where you speak of them::

            %%claude
            What trend does {fig} show, and does {df} support it?

        ``{name}``, ``{name.attribute}``, ``{name[0]}`` and ``{name['key']}`` are replaced by
        what they hold: matplotlib figures and axes, PIL images, arrays and image files go as
        pictures, data frames as summaries, everything else as text. Nothing is evaluated; what
        is no name stays as typed, and ``{{name}}`` sends ``{name}``. The reply is the value of
        the cell: ``_`` holds it, and a ``;`` at the end of the cell keeps it from being shown.

        The line magic asks on a line of its own, also with a question mark at its end::

            %claude What is a violin plot?
            reply = %claude Give {df.columns} shorter names

        An example for every option::

            %%claude -m claude-3.5-sonnet          another model, for this cell
            %%claude -s "Answer in French."        a system prompt
            %%claude -i fig -i df                  objects before the prompt
            %%claude -c                            continue the last exchange
            %%claude --chat review                 continue (or begin) a conversation by its name
            %%claude -j                            go on at once; the reply comes when it is there
            %%claude -j -o job                     job.wait().text, job.status, job.cancel()
            %%claude -o answer                     answer.text, answer.usage, ...
            %%claude --max-tokens 200              a short answer
            %%claude -t 0.2                        a steadier answer
            %%claude --param top_p=0.9             any parameter of the model
            %%claude --timeout 60                  wait a minute at most
            %%claude --raw                         braces stay braces
            %%claude -q -o answer                  show nothing
            %claude -- -5 degrees is how cold?     words that begin with a hyphen

        Without ``-c`` and ``--chat`` a cell sends itself alone, so that cells can be run again in
        any order. A conversation keeps its model and its system prompt until ``-m`` or ``-s``
        says otherwise; what failed is no part of it. ``%segmind chat`` lists those with a name,
        and ``Chat(name="review")`` shows one as a widget.

        A job (``-j``) outlives the cell and the kernel: ``%segmind jobs`` lists them,
        ``%segmind resume ID`` takes one up, ``%segmind wait`` waits for all of them.

        `%config ClaudeMagics` lists the defaults and sets them:
        ``%config ClaudeMagics.model = "claude-3.5-sonnet"``.
        """
        shell: Any = self.shell
        args, words = lines.parse(self.claude.parser, line)
        body = _body(words, cell, alone=not args.include)
        value = self._ask(body, args)
        if args.out:
            shell.push({args.out: value})
        if not (args.quiet or body.rstrip().endswith(";")):
            return value
        if cell is None:
            self._displays.hush(value)
            return value  # `name = %claude …;` assigns it
        shell.displayhook.update_user_ns(value)  # `_` holds it, as it was paid for
        return None

    def _ask(self, body: str, args: Any) -> Reply | Job:
        from segmind_jupyter.content.prompt import compose

        conversation = _conversation(args)
        kept = self.options().but(model=conversation.model, system=conversation.system)
        options = kept.but(
            model=args.model,
            system=args.system,
            max_tokens=args.max_tokens,
            temperature=args.temperature,
            timeout_s=args.timeout,
        )
        prompt = compose(
            body,
            sendable_names(self.shell),
            include=args.include,
            raw=args.raw,
            limits=options.limits,
        )
        send = service().submit if args.job else service().ask
        return send(prompt, options, dict(args.param), conversation)


def _conversation(args: Any) -> Conversation:
    """Give what the cell continues; a new one where it stands alone, for a later `-c`."""
    if args.goes_on and args.chat is not None:
        raise UsageError("Give -c or --chat NAME, not both: each of them continues (%%claude?)")
    if args.goes_on:
        return service().conversations.last()
    if args.chat is not None:
        from segmind_jupyter.chat import Chat

        if not args.chat.strip():
            raise UsageError("--chat takes a name, such as `--chat review`")
        return Chat(name=args.chat).conversation
    from segmind_jupyter.api.conversation import Conversation

    return Conversation()


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
