"""`%%claude` and `%claude`: parse the line, ask, give back the reply. No more happens here."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display

from segmind_jupyter.asking import service
from segmind_jupyter.errors import ReplyError
from segmind_jupyter.notebook import line as lines
from segmind_jupyter.notebook.defaults import Defaults
from segmind_jupyter.notebook.hush import is_whole_statement
from segmind_jupyter.notebook.reading import Question, read, values
from segmind_jupyter.notebook.shown import ReplyDisplay, footer_bundle, noting

if TYPE_CHECKING:
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
            return question.to(service().preview, queued=args.job)
        if args.job:
            return question.to(service().submit)
        reply: Reply = question.to(service().ask)
        if args.code:
            from segmind_jupyter.notebook.nextcell import put_code

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
