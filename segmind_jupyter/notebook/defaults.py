"""What a call takes that says nothing else: the traits that `%config ClaudeMagics` sets."""

from __future__ import annotations

import warnings
from typing import Any, get_args

from IPython.core.magic import Magics
from traitlets import Bool, Enum, Float, Int, TraitError, Unicode, observe, validate

from segmind_jupyter.api.models import DEFAULT_MODEL
from segmind_jupyter.api.reply_cache import Caching
from segmind_jupyter.api.settings import READ_TIMEOUT_S, AuthForm
from segmind_jupyter.api.waiting import Waiter, in_slices
from segmind_jupyter.asking import Options, service
from segmind_jupyter.content.parts import PATCH_PX, STANDARD, Limits
from segmind_jupyter.errors import SettingsError
from segmind_jupyter.notebook.headless import WAITS
from segmind_jupyter.notebook.looping import before_its_loop, keep_alive

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
        self._pump: Waiter = in_slices
        super().__init__(shell=shell, **kwargs)
        self._apply()

    @observe(
        "model", "system", "max_tokens", "temperature", "timeout", "image_edge", "table_tokens",
        "text_chars", "auth", "keep_loop_alive", "cache", "journal",
    )  # fmt: skip
    def _apply(self, change: object = None) -> None:
        """Let `ask` and the cells see what was set."""
        service().options = self.options()
        service().use_auth(self.auth)
        service().use_journal(self.journal)
        service().wait_with(self._pump if self.keep_loop_alive else in_slices)

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
        """Give what a call takes that says nothing else."""
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
