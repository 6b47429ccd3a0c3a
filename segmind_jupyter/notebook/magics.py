"""`%%claude` and `%claude`: parse the line, ask, give back the reply. No more happens here."""

from __future__ import annotations

from typing import Any, get_args

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from traitlets import Enum, Float, Int, Unicode, observe

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.models import DEFAULT_MODEL, KNOWN_MODELS
from segmind_jupyter.api.settings import READ_TIMEOUT_S, AuthForm
from segmind_jupyter.asking import Options, service
from segmind_jupyter.content.parts import PATCH_PX, STANDARD, Limits
from segmind_jupyter.notebook import line as lines
from segmind_jupyter.notebook.names import sendable_names
from segmind_jupyter.notebook.shown import ReplyDisplay

#: Tokens of an image that high-resolution models look at (Anthropic's vision page).
_HIGH_TOKENS = 4784


@magics_class
class ClaudeMagics(Magics):
    """Defaults of `%%claude`, `%claude` and `ask`; `%config ClaudeMagics` lists them."""

    model = Unicode(DEFAULT_MODEL, help="Model of a call that names none with -m.").tag(config=True)
    system = Unicode("", help="System prompt of a call that gives none with -s.").tag(config=True)
    max_tokens = Int(
        None, allow_none=True, min=1, help="Longest answer in tokens; the model's bound if None."
    ).tag(config=True)
    temperature = Float(
        None, allow_none=True, min=0, max=1, help="From 0 to 1; the model's own if None."
    ).tag(config=True)
    timeout = Float(READ_TIMEOUT_S, min=0.1, help="Seconds to wait for an answer.").tag(config=True)
    image_edge = Int(
        STANDARD.image_edge_px,
        min=PATCH_PX,
        max=8000,
        help="Longest side of a sent image in pixels: 1568 is the most that standard models look "
        "at, 2576 the most of high-resolution ones.",
    ).tag(config=True)
    table_tokens = Int(
        STANDARD.table_tokens, min=50, help="Tokens that the summary of a table may take."
    ).tag(config=True)
    text_chars = Int(
        STANDARD.text_chars, min=100, help="Characters of a named text; what is longer is cut."
    ).tag(config=True)
    auth = Enum(get_args(AuthForm), "auto", help="Form in which the key is sent.").tag(config=True)

    def __init__(self, shell: Any, *, displays: ReplyDisplay, **kwargs: Any) -> None:
        super().__init__(shell=shell, **kwargs)
        self._displays = displays
        self._apply()

    @observe(
        "model", "system", "max_tokens", "temperature", "timeout", "image_edge", "table_tokens",
        "text_chars", "auth",
    )  # fmt: skip
    def _apply(self, change: object = None) -> None:
        """Let `ask` and the cells see what was set."""
        service().options = self.options()
        service().use_auth(self.auth)

    def options(self) -> Options:
        """Give what a call takes that says nothing else."""
        return Options(
            model=self.model,
            system=self.system or None,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            timeout_s=self.timeout,
            limits=self._limits(),
        )

    def _limits(self) -> Limits:
        high = self.image_edge > STANDARD.image_edge_px
        return Limits(
            image_edge_px=self.image_edge,
            image_tokens=_HIGH_TOKENS if high else STANDARD.image_tokens,
            table_tokens=self.table_tokens,
            text_chars=self.text_chars,
        )

    @no_var_expand
    @magic_arguments()
    @argument("-m", "--model", metavar="MODEL", help="slug of the model (%%segmind models)")
    @argument("-s", "--system", metavar="TEXT", help="system prompt")
    @argument(
        "-i", "--include", metavar="NAME", action="append", default=[],
        help="put this object before the prompt; may be repeated",
    )  # fmt: skip
    @argument(
        "-o", "--out", metavar="NAME", type=lines.variable, help="assign the reply to this variable"
    )
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
    def claude(self, line: str, cell: str | None = None) -> Reply | None:
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
            %%claude -o answer                     answer.text, answer.usage, ...
            %%claude --max-tokens 200              a short answer
            %%claude -t 0.2                        a steadier answer
            %%claude --param top_p=0.9             any parameter of the model
            %%claude --timeout 60                  wait a minute at most
            %%claude --raw                         braces stay braces
            %%claude -q -o answer                  show nothing
            %claude -- -5 degrees is how cold?     words that begin with a hyphen

        `%config ClaudeMagics` lists the defaults and sets them:
        ``%config ClaudeMagics.model = "claude-3.5-sonnet"``.
        """
        shell: Any = self.shell
        args, words = lines.parse(self.claude.parser, line)
        body = _body(words, cell, alone=not args.include)
        reply = self._ask(body, args)
        if args.out:
            shell.push({args.out: reply})
        if not (args.quiet or body.rstrip().endswith(";")):
            return reply
        if cell is None:
            self._displays.hush(reply)
            return reply  # `name = %claude …;` assigns it
        shell.displayhook.update_user_ns(reply)  # `_` holds it, as it was paid for
        return None

    def _ask(self, body: str, args: Any) -> Reply:
        from segmind_jupyter.content.prompt import compose

        options = self.options().but(
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
        return service().ask(prompt, options, dict(args.param))


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
