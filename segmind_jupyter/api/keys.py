"""Where a key is kept outside of the environment: Colab's secrets, and the system's keyring.

Either may ask its owner before it answers, so a keyring is spoken to on a thread that nobody has to
wait for. Of its errors only the names are told: their words, and their frames, may hold the key.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from segmind_jupyter.api.settings import KEY_NAME, Secret
from segmind_jupyter.errors import SettingsError

#: Where a key is made, as the documentation of those who integrate Segmind has it (Portkey, n8n).
MADE_AT: Final = "https://cloud.segmind.com/console/api-keys"

#: Under which names the keyring has it.
SERVICE: Final = "segmind-jupyter"

#: How long a keyring may take to give the key, all in all, and to keep one: its owner may have to
#: type a password.
_READ_S: Final = 5.0
_WRITE_S: Final = 60.0

T = TypeVar("T")


def stored_key() -> tuple[Secret | None, str]:
    """Look into Colab's secrets, then into the keyring; return the key, and where it was.

    What was found is kept in memory. A `SettingsError` says why one could not be read.
    """
    with contextlib.suppress(LookupError):
        return _colab_key(), "Colab's secrets"
    if not has_keyring():
        return None, "default"
    reading, until_s = _reading()
    key = None
    try:
        key = _answer(reading, until_s)
    finally:
        if key is None and reading.done():
            _reading.cache_clear()  # it may be unlocked, or another kernel save one
    return key, "default" if key is None else "the keyring"


def has_keyring() -> bool:
    """Return whether the library is there that speaks to keyrings."""
    return find_spec("keyring") is not None


def save_key(key: Secret) -> str:
    """Keep the key in the keyring, and return the keyring's name."""

    def save(keyring: Any) -> str:
        keyring.set_password(SERVICE, KEY_NAME, key.reveal())
        if keyring.get_password(SERVICE, KEY_NAME) != key.reveal():
            raise SettingsError("The keyring did not keep the key.")
        return str(keyring.get_keyring().name)

    return _written(save)


def forget_key() -> bool:
    """Take the key out of the keyring, and return whether one was there."""

    def forget(keyring: Any) -> bool:
        is_there = keyring.get_password(SERVICE, KEY_NAME) is not None
        if is_there:
            keyring.delete_password(SERVICE, KEY_NAME)
        return is_there

    return _written(forget)


@functools.cache
def _colab_key() -> Secret:
    """Return the secret of this name; a `LookupError` where there is none."""
    is_main = threading.current_thread() is threading.main_thread()  # Colab answers no other
    if "google.colab" not in sys.modules or not is_main:
        raise LookupError
    from google.colab import userdata

    try:
        return Secret(userdata.get(KEY_NAME))
    except SettingsError:
        raise
    except Exception as error:  # noqa: BLE001 - it is not there, or was not told in time
        if type(error).__name__ != "NotebookAccessError":
            raise LookupError from None
        raise SettingsError(
            f"No API key: Colab keeps a secret {KEY_NAME}, and this notebook has no access to it. "
            "Switch the access on (the key symbol on the left), and run the cell again."
        ) from None


@functools.cache
def _reading() -> tuple[Future[Secret | None], float]:
    """Begin to read the keyring; return what will hold the key, and until when to wait for it."""

    def read(keyring: Any) -> Secret | None:
        try:
            is_there = keyring.get_password(SERVICE, KEY_NAME) is not None
        except keyring.errors.NoKeyringError:
            return None
        # Never in a local name, which `%xmode Verbose` would print.
        return Secret(keyring.get_password(SERVICE, KEY_NAME)) if is_there else None

    return _asked(read), time.monotonic() + _READ_S


def _written(change: Callable[[Any], T]) -> T:
    try:
        return _answer(_asked(change), time.monotonic() + _WRITE_S, "The keyring has not answered")
    finally:
        _reading.cache_clear()


def _answer(
    future: Future[T], until_s: float, said: str = "No API key: the keyring has not answered"
) -> T:
    try:
        return future.result(max(0.0, until_s - time.monotonic()))
    except TimeoutError:
        raise SettingsError(
            f"{said}, as it may wait for its password. Unlock it and try again; `%segmind key` "
            "alone sets a key for this kernel."
        ) from None


def _asked(ask: Callable[[Any], T]) -> Future[T]:
    """Ask the keyring something on a thread of its own, which ends with the process."""
    future: Future[T] = Future()

    def answer() -> None:
        try:
            import keyring

            future.set_result(ask(keyring))
        except SettingsError as error:
            future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - each backend has its own
            why = f"the keyring cannot be used ({type(error).__name__})"
            told = f"No API key: {why}. Unlock it and try again, or set {KEY_NAME} instead."
            future.set_exception(SettingsError(told))

    threading.Thread(target=answer, name="segmind-keyring", daemon=True).start()
    return future
