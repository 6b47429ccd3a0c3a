"""`%segmind key`: the key, typed in where it is not shown, and kept in the system's keyring."""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import Sequence
from typing import Any, Final

from IPython.core.error import StdinNotImplementedError, UsageError

from segmind_jupyter.api.keys import MADE_AT, forget_key, has_keyring, save_key
from segmind_jupyter.api.settings import Secret
from segmind_jupyter.errors import SettingsError
from segmind_jupyter.session import session

#: Where IPython keeps that a key was saved: loading the extension does not ask the keyring.
_SAVED: Final = "segmind_jupyter/key_saved"

_NEEDS_KEYRING: Final = (
    "The system's keyring is reached by the library of this name: "
    "`%pip install 'segmind-jupyter[keyring]'`, and try again."
)


def change_key(shell: Any, rest: Sequence[str]) -> str:
    """Ask for the key, and save it where that is asked for; or forget it."""
    if list(rest) not in ([], ["--save"], ["--forget"]):
        # What stands on the line is saved in the notebook and in IPython's history.
        raise UsageError(
            "It is `%segmind key`, with `--save` or `--forget`, and nothing more; it asks for the "
            "key, so that the notebook does not hold it. If that was a real key, delete this cell "
            "and renew the key"
        )
    if rest and not has_keyring():
        raise SettingsError(_NEEDS_KEYRING)
    if list(rest) == ["--forget"]:
        there = forget_key()
        session().use_key(None)
        shell.db.pop(_SAVED, None)
        gone = "is removed from the keyring" if there else "was not in the keyring"
        left = session().settings(stored=False)
        more = f" {left.sources['api_key']} still holds one." if left.api_key else ""
        return f"The key {gone}, and this kernel has forgotten it.{more}"
    sys.stdout.write(f"A key is made at {MADE_AT}\n")
    try:
        key = Secret(getpass.getpass("Segmind API key: "))
    except (StdinNotImplementedError, EOFError):
        raise SettingsError(
            "This front end cannot ask for a key. Set SEGMIND_API_KEY before the kernel starts."
        ) from None
    session().use_key(key)
    if not rest:
        return "The key is set for this kernel; it is not saved (`%segmind key --save` does)."
    try:
        keyring = save_key(key)
    except SettingsError as error:
        raise SettingsError(f"The key is set for this kernel, and was not saved. {error}") from None
    with contextlib.suppress(OSError):  # a profile that cannot be written to
        shell.db[_SAVED] = True
    return f"The key is set, and saved in the keyring ({keyring}); `%segmind key --forget` undoes."


def say_if_missing(shell: Any) -> None:
    """Print a line where no key is found; what may take its time is not asked."""
    desk = session()
    try:
        settings = desk.settings(stored=False)
    except SettingsError:
        return  # the first cell says more
    may_be_kept = "google.colab" in sys.modules or shell.db.get(_SAVED)
    if settings.api_key or settings.simulated or desk.options.cache == "only" or may_be_kept:
        return
    sys.stdout.write(
        "No Segmind API key: `%segmind key` asks for one, `%segmind simulator` needs none.\n"
    )
