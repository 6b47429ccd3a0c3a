"""What a call takes that says nothing else: the traits that `%config ClaudeMagics` sets."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, get_args

from IPython.core.magic import Magics
from traitlets import Bool, Enum, Float, Int, TraitError, Unicode, observe, validate

from segmind_jupyter.api.cache import Caching
from segmind_jupyter.api.loop import Waiter, slices, wait_interruptibly
from segmind_jupyter.api.settings import DEFAULT_MODEL, READ_TIMEOUT_S, AuthForm
from segmind_jupyter.content.parts import PATCH_PX, STANDARD, Limits
from segmind_jupyter.errors import SettingsError
from segmind_jupyter.notebook.live.headless import WAITS
from segmind_jupyter.options import Options
from segmind_jupyter.session import session


def keep_alive(shell: Any) -> Waiter:
    """Patch the running loop now, and give a waiter that runs it while it waits.

    The patch cannot be undone before the kernel restarts. The waiter runs the loop only from the
    cell after this one on; wherever it cannot, it is `wait_interruptibly`.
    """
    loop = _patchable(_running_loop())
    import nest_asyncio2

    nest_asyncio2.apply(loop)
    return _Pump(loop, shell)


def before_its_loop(shell: Any) -> bool:
    """Return whether a kernel is still starting: a configuration is read before its loop runs."""
    return _running_loop() is None and getattr(shell, "kernel", None) is not None


def _patchable(loop: asyncio.AbstractEventLoop | None) -> asyncio.BaseEventLoop:
    if loop is None:
        raise SettingsError(
            "No event loop runs here, as in a terminal, so there is none to keep alive: leave "
            "keep_loop_alive at False."
        )
    if threading.current_thread() is not threading.main_thread():
        raise SettingsError(
            "keep_loop_alive is for the kernel's main thread, and this cell runs on another one "
            "(a subshell): set it in a cell of the notebook."
        )
    if not isinstance(loop, asyncio.BaseEventLoop):
        kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
        raise SettingsError(
            f"The kernel's event loop is a {kind}, which cannot be run from within a cell: start "
            "the kernel with asyncio's own loop, or use `%%claude --job`, which does not block."
        )
    if _has_old_patch(loop) or _has_old_patch(asyncio):
        raise SettingsError(
            "nest_asyncio has patched the event loop, and with it a waiting cell can hang: "
            "restart the kernel and set keep_loop_alive without it. It brings nest_asyncio2, "
            "which allows asyncio.run() in a cell too."
        )
    return loop


def _has_old_patch(patched: object) -> bool:
    """Tell nest_asyncio's mark from nest_asyncio2's, which leaves both."""
    return hasattr(patched, "_nest_patched") and not hasattr(patched, "_nest_asyncio2")


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
        self._patched_turn = False
        loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._patched_turn = True

    def __call__(
        self, future: concurrent.futures.Future[Any], timeout_s: float | None = None
    ) -> None:
        if not self._can_run():
            wait_interruptibly(future, timeout_s)
            return
        self._running = True
        try:
            self._run(future, timeout_s)
        finally:
            self._running = False

    def _can_run(self) -> bool:
        """Return whether the loop may be run here and now.

        Not inside itself: a task that asks while a cell waits is a blocking call in a coroutine,
        and many of them would nest without a bound. Not under `%gui`: its loop would run inside
        this one, and end with the next cell only.
        """
        return (
            self._patched_turn
            and not self._running
            and _running_loop() is self._loop
            and getattr(getattr(self._shell, "kernel", None), "eventloop", None) is None
        )

    def _run(self, future: concurrent.futures.Future[Any], timeout_s: float | None) -> None:
        over = asyncio.Event()

        def end(_: object = None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(over.set)

        future.add_done_callback(end)
        try:
            with _interrupt_calls(end):
                self._loop.run_until_complete(_wait(over, timeout_s))
        finally:
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
        "event loop with nest_asyncio2 at once; False stops using the patch, but only a restart of "
        "the kernel removes it.",
    ).tag(config=True)

    cache = Enum(
        get_args(Caching),
        "off",
        help="Kept replies to equal requests: 'on' uses them, and keeps what is new; 'only' uses "
        "them and sends nothing, without a key or a network; 'off' does neither. `ask_each` looks "
        "into its journal instead.",
    ).tag(config=True)

    journal = Bool(
        True,
        help="Keep ids and replies of jobs, and what `cache` keeps, in a file that outlives the "
        "kernel; never the key or a prompt. False keeps them in memory alone.",
    ).tag(config=True)
    wait_for_jobs = Enum(
        WAITS,
        "headless",
        help="When a cell that begins jobs ends only with their replies: 'headless' where no front "
        "end can ask anything (nbconvert --execute, papermill), 'always', or 'never'.",
    ).tag(config=True)

    def __init__(self, shell: Any, **kwargs: Any) -> None:
        self._pump: Waiter = wait_interruptibly
        super().__init__(shell=shell, **kwargs)
        self._apply()

    @observe(
        "model", "system", "max_tokens", "temperature", "timeout", "image_edge", "table_tokens",
        "text_chars", "auth", "keep_loop_alive", "cache", "journal",
    )  # fmt: skip
    def _apply(self, change: object = None) -> None:
        """Let `ask` and the cells see what was set."""
        session().options = self.options()
        session().use_auth(self.auth)
        session().use_journal(self.journal)
        session().wait_with(self._pump if self.keep_loop_alive else wait_interruptibly)

    @validate("max_tokens", "temperature", "timeout")
    def _can_work(self, proposal: Any) -> Any:
        """Refuse what traits let through: `True` as a number, and what is not finite."""
        name = {"timeout": "timeout_s"}.get(proposal.trait.name, proposal.trait.name)
        try:
            Options(**{name: proposal.value})
        except SettingsError as error:
            raise TraitError(str(error)) from None
        return proposal.value

    @validate("keep_loop_alive")
    def _patch_the_loop(self, proposal: Any) -> bool:
        """Patch before the value holds: after a `TraitError` the old one does, and shows why."""
        shell: Any = self.shell
        if proposal.value and before_its_loop(shell):
            shell.events.register("pre_run_cell", self._patch_at_first_cell)
        elif proposal.value:
            try:
                self._pump = keep_alive(self.shell)
            except SettingsError as error:
                raise TraitError(str(error)) from None
        return bool(proposal.value)

    def _patch_at_first_cell(self, *_: object) -> None:
        """Patch what a configuration asked for before the kernel's loop was running."""
        shell: Any = self.shell
        shell.events.unregister("pre_run_cell", self._patch_at_first_cell)
        if not self.keep_loop_alive or self not in shell.configurables:
            return  # set to False, or unloaded, meanwhile
        try:
            self._pump = keep_alive(self.shell)
        except SettingsError as error:
            self.keep_loop_alive = False
            warnings.warn(str(error), stacklevel=2)
        self._apply()

    def options(self) -> Options:
        """Return what a call takes that says nothing else."""
        return Options(
            model=self.model,
            system=self.system or None,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            timeout_s=self.timeout,
            limits=self._limits(),
            cache=self.cache,
        )

    def _limits(self) -> Limits:
        high = self.image_edge > STANDARD.image_edge_px
        return Limits(
            image_edge_px=self.image_edge,
            image_tokens=_HIGH_TOKENS if high else STANDARD.image_tokens,
            table_tokens=self.table_tokens,
            text_chars=self.text_chars,
        )
