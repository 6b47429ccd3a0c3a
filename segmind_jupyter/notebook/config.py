"""What a call takes that says nothing else: the traits that `%config ClaudeMagics` sets."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, get_args

from IPython.core.magic import Magics
from traitlets import Bool, Enum, Float, Int, TraitError, Unicode, observe, validate

from segmind_jupyter.api.loop import Waiter, slices, wait_interruptibly
from segmind_jupyter.api.settings import (
    DEFAULT_MODEL,
    READ_TIMEOUT_S,
    AuthForm,
    Caching,
    checked_seconds,
)
from segmind_jupyter.content.parts import PATCH_PX, STANDARD, Limits
from segmind_jupyter.errors import SettingsError
from segmind_jupyter.options import CHECKS, Options
from segmind_jupyter.session import session

#: Tokens of an image that high-resolution models look at (Anthropic's vision page).
_HIGH_TOKENS = 4784


class Defaults(Magics):
    """The defaults of `%%claude`, `%claude`, `ask`, `submit` and `ask_each`."""

    model = Unicode(DEFAULT_MODEL, help="Model of a call that names none with -m.").tag(config=True)
    system = Unicode("", help="System prompt of a call that gives none with -s.").tag(config=True)
    max_tokens = Int(
        None, allow_none=True, min=1, help="Longest answer in tokens; the model's bound if None."
    ).tag(config=True)
    temperature = Float(
        None, allow_none=True, min=0, max=1, help="From 0 to 1; the model's own if None."
    ).tag(config=True)
    timeout = Float(READ_TIMEOUT_S, min=0.1, help="Seconds to wait for an answer.").tag(config=True)
    cache = Enum(
        get_args(Caching),
        "off",
        help="Kept replies to equal requests: 'on' uses them, and keeps what is new; 'only' uses "
        "them and sends nothing, without a key or a network; 'off' does neither. `ask_each` looks "
        "into its journal instead.",
    ).tag(config=True)
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
    keep_loop_alive = Bool(
        False,
        help="Let your asyncio tasks run while a cell waits for a reply. True patches the kernel's "
        "event loop with nest_asyncio2 at once; False stops using the patch, but only a restart "
        "of the kernel removes it.",
    ).tag(config=True)
    journal = Bool(
        True,
        help="Keep ids and replies of jobs, and what `cache` keeps, in a file that outlives the "
        "kernel; never the key, and words of yours by `keep_chats` alone. False keeps them in "
        "memory.",
    ).tag(config=True)
    keep_chats = Bool(
        False,
        help="Keep what is said in conversations that have a name, so that the next kernel goes "
        "on: in the journal, with your words and pictures.",
    ).tag(config=True)
    footer = Enum(
        ("full", "line", "off"),
        "full",
        help="What stands under a reply: 'full' what it took and what was sent, with thumbnails; "
        "'line' one quiet line; 'off' nothing. Notes on what was left out stay.",
    ).tag(config=True)
    wait_for_jobs = Enum(
        ("headless", "always", "never"),
        "headless",
        help="When a cell that begins jobs ends only with their replies: 'headless' where no front "
        "end can ask anything (nbconvert --execute, papermill), 'always', or 'never'.",
    ).tag(config=True)

    def __init__(self, shell: Any, **kwargs: Any) -> None:
        self._pump: Waiter | None = None
        super().__init__(shell=shell, **kwargs)
        self._apply()

    def options(self) -> Options:
        """Return what a call takes that says nothing else."""
        high = self.image_edge > STANDARD.image_edge_px
        return Options(
            model=self.model,
            system=self.system or None,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            timeout_s=self.timeout,
            bounds=Limits(
                image_edge_px=self.image_edge,
                image_tokens=_HIGH_TOKENS if high else STANDARD.image_tokens,
                table_tokens=self.table_tokens,
                text_chars=self.text_chars,
            ),
            cache=self.cache,
        )

    @observe(
        "model", "system", "max_tokens", "temperature", "timeout", "cache", "image_edge",
        "table_tokens", "text_chars", "auth", "keep_loop_alive", "journal", "keep_chats", "footer",
    )  # fmt: skip
    def _apply(self, change: object = None) -> None:
        """Let `ask` and the cells see what was set."""
        desk = session()
        desk.options = self.options()
        desk.footer, desk.keeps_chats = self.footer, self.keep_chats
        desk.use_auth(self.auth)
        desk.use_journal(self.journal)
        desk.wait_with(self._pump if self.keep_loop_alive else None)

    @validate("max_tokens", "temperature", "timeout")
    def _can_work(self, proposal: Any) -> Any:
        """Refuse what traits let through: `True` as a number, and what is not finite."""
        name = proposal.trait.name
        check = checked_seconds if name == "timeout" else CHECKS[name]
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
