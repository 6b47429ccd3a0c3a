"""The one table of options, and the traits of it that `%config ClaudeMagics` sets."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import keyword
import signal
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, get_args

from IPython.core.error import UsageError
from IPython.core.magic import Magics
from traitlets import Bool, Enum, Float, Int, TraitError, Unicode, observe, validate

from segmind_jupyter.api import settings
from segmind_jupyter.api.loop import Waiter, slices, wait_interruptibly
from segmind_jupyter.content.parts import PATCH_PX, STANDARD, Limits
from segmind_jupyter.errors import SettingsError, shortened
from segmind_jupyter.options import CHECKS, Options, checked_count
from segmind_jupyter.session import session

#: Tokens of an image that high-resolution models look at (Anthropic's vision page).
_HIGH_TOKENS = 4784


def _number(text: str) -> Any:
    """Read a number; what is none is refused by what checks it."""
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def _count(text: str) -> int:
    return checked_count(_number(text), "N")


def _name(text: str) -> str:
    """Read the name of a variable to assign to, as Python spells it."""
    name = unicodedata.normalize("NFKC", text)
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UsageError(f"{text!r} cannot be the name of a variable")
    return name


def _parameter(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``; the value is JSON where it is that, and else a text."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"`--param {text}` is not of the form KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        if value.lstrip()[:1] in ("[", "{"):
            raise UsageError(
                f"{key}: {shortened(value)} is broken JSON. Write it as in "
                '`--param stop_sequences=["END"]`; a text goes in double quotes within single ones.'
            ) from None
        return key, value


class Row(NamedTuple):
    """An option of the magics, with an example for the manual, a setting of `%config`, or both."""

    name: str
    flags: tuple[str, ...]
    how: Mapping[str, Any]
    example: tuple[str, str]
    trait: Any


def _row(
    name: str, *flags: str, example: tuple[str, str] = ("", ""), trait: Any = None, **how: Any
) -> Row:
    return Row(name, flags, how, example, trait)


#: In the order of the documentation, whose tables have these words: a new option is a row here, and
#: what it does. A row without flags is a setting of `%config` alone.
ROWS: Final = (
    _row("model", "-m", "--model", metavar="MODEL", action="append", default=[],
        help="another model: any Claude model's slug at Segmind (`%%segmind models` lists some); "
             "of several, each with a `-m`, all are asked at once, and stand side by side",
        example=("-m claude-3.5-sonnet", "another model, for this cell"),
        trait=Unicode(settings.DEFAULT_MODEL, help="Model of a call that names none with -m.")),
    _row("system", "-s", "--system", metavar="TEXT",
        help="system prompt; `-s {name}` takes that of a variable",
        example=('-s "Answer in French."', "a system prompt"),
        trait=Unicode("", help="System prompt of a call that gives none with -s.")),
    _row("blind", "--blind", action="store_true",
        help="hide which of several models said what, until `%%claude --reveal`",
        example=("-m ONE -m OTHER --blind", "two models side by side, as A and B")),
    _row("reveal", "--reveal", action="store_true",
        help="`%%claude --reveal` alone shows the last comparison again, with which model said "
        "what",
        example=("--reveal", "which model was A?")),
    _row("best", "--best", metavar="NAME",
        help="`%%claude --best A` alone reveals too, and keeps that A (or a model) was the best "
             "of them, for `%%segmind usage --by model`",
        example=("--best A", "A was the best: kept, and revealed")),
    _row("include", "-i", "--include", metavar="NAME", action="append", default=[],
        help="put this object before the prompt; may be repeated",
        example=("-i fig -i df", "objects before the prompt")),
    _row("plot", "-p", "--plot", metavar="N", nargs="?", type=_count, const=1,
        help="put the last plot that a cell showed (or the last N) before the prompt, whoever "
             "drew it",
        example=("--plot", "the last plot above; `-p 2` the last two")),
    _row("alt", "--alt", action="store_true",
        help="describe each figure of the cell's code, or the plot above, for those who cannot "
             "see it; words in quotes are taken instead",
        example=("--alt", "above plotting code: runs and describes it")),
    _row("language", "--language", metavar="TAG",
        help="language of the texts of `--alt`: `de`, `pt-BR`, several as `de,fr`",
        example=("--alt --language de,en", "the texts in two languages")),
    _row("error", "--error", action="store_true",
        help="put the last error before the prompt; `%%claude --error` alone asks what went "
             "wrong",
        example=("--error", "what went wrong in the cell above?")),
    _row("each", "--each", metavar="NAME",
        help="ask the same about each row of a table (`{column}`) or item of a list (`{item}`), "
             "as `ask_each` does; the value is the table with the replies beside its own columns",
        example=("--each df --json Complaint -o out", "every row; a column a field")),
    _row("goes_on", "-c", "--continue", action="store_true",
        help="continue the last exchange; without it a cell sends itself alone",
        example=("-c", "continue the last exchange")),
    _row("chat", "--chat", metavar="NAME",
        help="continue the conversation of this name, or begin it; `Chat(name=NAME)` is the same "
             "one",
        example=("--chat review", "continue (or begin) one by its name")),
    _row("job", "-j", "--job", action="store_true",
        help="queue it and go on: a card shows how it stands, and becomes the reply",
        example=("-j -o job", "go on at once; job.wait().text, job.status")),
    _row("out", "-o", "--out", metavar="NAME", type=_name,
        help="assign the reply (or the job, or the object of `--json`) to this variable",
        example=("-o answer", "answer.text, answer.usage, ...")),
    _row("code", "--code", metavar="N", nargs="?", type=_count, const=1,
        help="put the reply's first (or Nth) Python block into the next cell; it is never run. "
             "`%%claude --code` alone takes it from the last reply, and asks nothing",
        example=("--code", "the reply's Python goes into the next cell")),
    _row("json", "--json", metavar="NAME", nargs="?", const="",
        help="ask for JSON, checked against a dict, dataclass, TypedDict, pydantic model or a "
             "type such as `list[Trend]`; the value is the object",
        example=("--json Point -o p", "p is a Point, your dataclass; alone: a dict")),
    _row("max_tokens", "--max-tokens", metavar="N", type=_number, help="longest answer, in tokens",
        example=("--max-tokens 200", "a short answer"),
        trait=Int(None, allow_none=True, min=1,
            help="Longest answer in tokens; the model's bound if None.")),
    _row("temperature", "-t", "--temperature", metavar="X", type=_number, help="from 0 to 1",
        example=("-t 0.2", "a steadier answer"),
        trait=Float(None, allow_none=True, min=0, max=1,
            help="From 0 to 1; the model's own if None.")),
    _row("param", "--param", metavar="KEY=VALUE", type=_parameter, action="append", default=[],
        help="any other parameter of the model, JSON or a text; may be repeated",
        example=('--param stop_sequences=["END"]', "any parameter of the model")),
    _row("timeout", "--timeout", metavar="S", type=_number,
        help="seconds to wait (of a job: to submit it), 300 if not set",
        example=("--timeout 60", "wait a minute at most"),
        trait=Float(settings.READ_TIMEOUT_S, min=0.1, help="Seconds to wait for an answer.")),
    _row("cache", "--cache", action="store_const", const="on",
        help="use the kept reply to the same request, or keep the one that comes",
        example=("--cache", "ask once: run again, it costs nothing"),
        trait=Enum(get_args(settings.Caching), "off",
            help="Kept replies to equal requests: 'on' uses them, and keeps what is new; 'only' "
                 "uses them and sends nothing, without a key or a network; 'off' does neither. "
                 "`ask_each` looks into its journal instead.")),
    _row("cache", "--no-cache", action="store_const", const="off",
        help="ask anew, and do not keep the reply",
        example=("--no-cache", "ask anew, and do not keep the reply")),
    _row("dry_run", "--dry-run", action="store_true",
        help="show what would be sent, block by block, and send nothing",
        example=("--dry-run", "show what would be sent, and send nothing")),
    _row("raw", "--raw", action="store_true",
        help=r"send braces as they are (`\frac{a}{b}` where `a` is a variable)",
        example=("--raw", "braces stay braces")),
    _row("quiet", "-q", "--quiet", action="store_true",
        help="show nothing; the reply is in `_` (so does a `;` at the end of a `%%claude` line)",
        example=("-q -o answer", "show nothing")),
    _row("image_edge",
        trait=Int(STANDARD.image_edge_px, min=PATCH_PX, max=8000,
            help="Longest side of a sent image in pixels: 1568 is the most that standard models "
                 "look at, 2576 the most of high-resolution ones.")),
    _row("table_tokens",
        trait=Int(STANDARD.table_tokens, min=50,
            help="Tokens that the summary of a table may take.")),
    _row("text_chars",
        trait=Int(STANDARD.text_chars, min=100,
            help="Characters of a named text; what is longer is cut.")),
    _row("auth",
        trait=Enum(get_args(settings.AuthForm), "auto", help="Form in which the key is sent.")),
    _row("keep_loop_alive",
        trait=Bool(False,
            help="Let your asyncio tasks run while a cell waits for a reply. True patches the "
                 "kernel's event loop with nest_asyncio2 at once; False stops using the patch, "
                 "but only a restart of the kernel removes it.")),
    _row("journal",
        trait=Bool(True,
            help="Keep ids and replies of jobs, and what `cache` keeps, in a file that outlives "
                 "the kernel; never the key, and words of yours by `keep_chats` alone. False "
                 "keeps them in memory.")),
    _row("keep_chats",
        trait=Bool(False,
            help="Keep what is said in conversations that have a name, so that the next kernel "
                 "goes on: in the journal, with your words and pictures.")),
    _row("footer",
        trait=Enum(("full", "line", "off"), "full",
            help="What stands under a reply: 'full' what it took and what was sent, with "
                 "thumbnails; 'line' one quiet line; 'off' nothing. Notes on what was left out "
                 "stay.")),
    _row("wait_for_jobs",
        trait=Enum(("headless", "always", "never"), "headless",
            help="When a cell that begins jobs ends only with their replies: 'headless' where no "
                 "front end can ask anything (nbconvert --execute, papermill), 'always', or "
                 "'never'.")),
)  # fmt: skip


class Defaults(Magics):
    """The defaults of `%%claude`, `%claude`, `ask`, `submit` and `ask_each`."""

    vars().update({row.name: row.trait.tag(config=True) for row in ROWS if row.trait})

    def __init__(self, shell: Any, **kwargs: Any) -> None:
        self._pump: Waiter | None = None
        super().__init__(shell=shell, **kwargs)
        self._apply()

    def options(self) -> Options:
        """Return what a call takes that says nothing else."""
        held: dict[str, Any] = self.trait_values()
        given = {name: held[name] for name in ("model", "max_tokens", "temperature", "cache")}
        high = held["image_edge"] > STANDARD.image_edge_px
        return Options(
            system=held["system"] or None,
            timeout_s=held["timeout"],
            bounds=Limits(
                image_edge_px=held["image_edge"],
                image_tokens=_HIGH_TOKENS if high else STANDARD.image_tokens,
                table_tokens=held["table_tokens"],
                text_chars=held["text_chars"],
            ),
            **given,
        )

    @observe(*(row.name for row in ROWS if row.trait))
    def _apply(self, change: object = None) -> None:
        """Let `ask` and the cells see what was set."""
        held, desk = self.trait_values(), session()
        desk.options = self.options()
        desk.footer, desk.keeps_chats = held["footer"], held["keep_chats"]
        desk.auth = held["auth"]
        desk.use_journal(held["journal"])
        desk.wait_with(self._pump if held["keep_loop_alive"] else None)

    @validate("max_tokens", "temperature", "timeout")
    def _can_work(self, proposal: Any) -> Any:
        """Refuse what traits let through: `True` as a number, and what is not finite."""
        name = proposal.trait.name
        check = settings.checked_seconds if name == "timeout" else CHECKS[name]
        try:
            if proposal.value is not None:
                check(proposal.value)
        except SettingsError as error:
            raise TraitError(str(error)) from None
        return proposal.value

    @validate("keep_loop_alive")
    def _patch_the_loop(self, proposal: Any) -> bool:
        """Patch before the value holds: after a `TraitError` the old one does, and shows why."""
        try:
            if proposal.value:
                self._pump = keep_alive(self.shell)
        except SettingsError as error:
            raise TraitError(str(error)) from None
        return bool(proposal.value)


# The user's tasks go on


def keep_alive(shell: Any) -> Waiter:
    """Patch the running loop now, and give a waiter that runs it while it waits.

    The patch cannot be undone before the kernel restarts. The waiter runs the loop only from the
    cell after this one on; wherever it cannot, it is `wait_interruptibly`.
    """
    loop = _running_loop()
    if loop is None:
        raise SettingsError(
            "No event loop runs here, as in a terminal or before a kernel's first cell, so there "
            "is none to keep alive: set keep_loop_alive in a cell of a notebook."
        )
    if threading.current_thread() is not threading.main_thread():
        raise SettingsError(
            "keep_loop_alive is for the kernel's main thread, and this cell runs on another one "
            "(a subshell): set it in a cell of the notebook."
        )
    if not isinstance(loop, asyncio.BaseEventLoop):
        raise SettingsError(
            f"A {type(loop).__qualname__} cannot be run from within a cell: start the kernel with "
            "asyncio's own loop, or use `%%claude --job`, which does not block."
        )
    for patched in (loop, asyncio):
        # nest_asyncio2 leaves its own mark beside that of nest_asyncio.
        if hasattr(patched, "_nest_patched") and not hasattr(patched, "_nest_asyncio2"):
            raise SettingsError(
                "nest_asyncio has patched the event loop, and with it a waiting cell can hang: "
                "restart the kernel and set keep_loop_alive without it. It brings nest_asyncio2, "
                "which allows asyncio.run() in a cell too."
            )
    import nest_asyncio2

    nest_asyncio2.apply(loop)
    return _Pump(loop, shell)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Pump:
    """The waiter of `keep_alive`: runs the patched loop until a future is done."""

    def __init__(self, loop: asyncio.BaseEventLoop, shell: Any) -> None:
        self._loop, self._shell = loop, shell
        self._running = False
        # The turn of the loop that runs this cell began before the patch: it has counted its
        # callbacks, and fails if a turn inside it takes them (ipykernel 6 dies of that).
        self._patched_turn = asyncio.Event()
        loop.call_soon(self._patched_turn.set)

    def __call__(
        self, future: concurrent.futures.Future[Any], timeout_s: float | None = None
    ) -> None:
        # Not inside itself: a task that asks while a cell waits is a blocking call in a coroutine,
        # and many of them would nest without a bound. Not under `%gui`: its loop would run inside
        # this one, and end with the next cell only.
        under_gui = getattr(getattr(self._shell, "kernel", None), "eventloop", None) is not None
        can_run = self._patched_turn.is_set() and not self._running and not under_gui
        if not can_run or _running_loop() is not self._loop:
            wait_interruptibly(future, timeout_s)
            return
        over = asyncio.Event()

        def end(_: object = None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(over.set)

        future.add_done_callback(end)
        self._running = True
        try:
            with _interrupt_calls(end):
                self._loop.run_until_complete(_wait(over, timeout_s))
        finally:
            self._running = False
            over.set()  # after an error, the coroutine is still there


async def _wait(over: asyncio.Event, timeout_s: float | None) -> None:
    for slice_s in slices(timeout_s):
        if over.is_set():
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), slice_s)


@contextlib.contextmanager
def _interrupt_calls(end: Callable[[], None]) -> Iterator[None]:
    """Let the first Interrupt end the wait, and raise it only then.

    Raised at once, it would hit whichever task is running, or the kernel's own callbacks. A second
    one is raised at once, as a task may hold the loop. Where Interrupt is not Python's own (an
    idle kernel ignores it) it is left as it is.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    interrupted = False

    def interrupt(signum: int, frame: Any) -> None:
        nonlocal interrupted
        if interrupted:
            signal.default_int_handler(signum, frame)
        interrupted = True
        end()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted:
        raise KeyboardInterrupt
