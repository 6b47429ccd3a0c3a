"""What a call takes that says nothing else: the traits that `%config ClaudeMagics` sets."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics
from traitlets import Bool, Enum, Float, Int, TraitError, Unicode, observe, validate

from segmind_jupyter.content.parts import STANDARD, Limits
from segmind_jupyter.errors import SettingsError
from segmind_jupyter.options import OPTIONS, Options, Setting
from segmind_jupyter.session import session

if TYPE_CHECKING:
    from segmind_jupyter.api.loop import Waiter

#: Tokens of an image that high-resolution models look at (Anthropic's vision page).
_HIGH_TOKENS = 4784

_SETTINGS = {option.name: option for option in OPTIONS if option.setting is not None}


def _trait(setting: Setting | None) -> Any:
    """Make the trait of a setting."""
    assert setting is not None  # noqa: S101 - only such rows are asked for
    trait: Any
    if setting.choices:
        trait = Enum(setting.choices, setting.default, help=setting.words)
    elif setting.type is bool:
        trait = Bool(setting.default, help=setting.words)
    elif setting.type is str:
        trait = Unicode(setting.default, help=setting.words)
    else:
        kind: Any = Int if setting.type is int else Float
        trait = kind(
            setting.default,
            allow_none=setting.default is None,
            min=setting.least,
            max=setting.most,
            help=setting.words,
        )
    return trait.tag(config=True)


class Defaults(Magics):
    """The defaults of `%%claude`, `%claude`, `ask`, `submit` and `ask_each`."""

    vars().update({name: _trait(option.setting) for name, option in _SETTINGS.items()})

    def __init__(self, shell: Any, **kwargs: Any) -> None:
        self._pump: Waiter | None = None
        super().__init__(shell=shell, **kwargs)
        self._apply()

    def options(self) -> Options:
        """Return what a call takes that says nothing else."""
        held: dict[str, Any] = self.trait_values()
        given: dict[str, Any] = {
            option.field: held[option.name] or None for option in OPTIONS if option.in_calls
        }
        high = held["image_edge"] > STANDARD.image_edge_px
        return Options(
            bounds=Limits(
                image_edge_px=held["image_edge"],
                image_tokens=_HIGH_TOKENS if high else STANDARD.image_tokens,
                table_tokens=held["table_tokens"],
                text_chars=held["text_chars"],
            ),
            cache=held["cache"],
            **given,
        )

    @observe(*_SETTINGS)
    def _apply(self, change: object = None) -> None:
        """Let `ask` and the cells see what was set."""
        held, desk = self.trait_values(), session()
        desk.options = self.options()
        desk.footer = held["footer"]
        desk.use_auth(held["auth"])
        desk.use_journal(held["journal"])
        desk.wait_with(self._pump if held["keep_loop_alive"] else None)

    @validate(*(name for name, option in _SETTINGS.items() if option.in_calls))
    def _can_work(self, proposal: Any) -> Any:
        """Refuse what traits let through: `True` as a number, and what is not finite."""
        try:
            if proposal.value is not None:
                _SETTINGS[proposal.trait.name].check(proposal.value)
        except SettingsError as error:
            raise TraitError(str(error)) from None
        return proposal.value

    @validate("keep_loop_alive")
    def _patch_the_loop(self, proposal: Any) -> bool:
        """Patch before the value holds: after a `TraitError` the old one does, and shows why."""
        shell: Any = self.shell
        if proposal.value and _is_before_its_loop(shell):
            shell.events.register("pre_run_cell", self._patch_at_first_cell)
        elif proposal.value:
            from segmind_jupyter.notebook.keep_alive import keep_alive

            try:
                self._pump = keep_alive(shell)
            except SettingsError as error:
                raise TraitError(str(error)) from None
        return bool(proposal.value)

    def _patch_at_first_cell(self, *_: object) -> None:
        """Patch what a configuration asked for before the kernel's loop was running."""
        shell: Any = self.shell
        shell.events.unregister("pre_run_cell", self._patch_at_first_cell)
        if not self.trait_values()["keep_loop_alive"] or self not in shell.configurables:
            return  # set to False, or unloaded, meanwhile
        from segmind_jupyter.notebook.keep_alive import keep_alive

        try:
            self._pump = keep_alive(shell)
        except SettingsError as error:
            self.keep_loop_alive = False
            warnings.warn(str(error), stacklevel=2)
        self._apply()


def _is_before_its_loop(shell: Any) -> bool:
    """Return whether a kernel is still starting: a configuration is read before its loop runs."""
    if getattr(shell, "kernel", None) is None:
        return False
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False
