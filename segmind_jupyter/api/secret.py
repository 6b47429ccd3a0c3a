"""A wrapper that keeps the API key out of reprs, logs, tracebacks, pickles and saved notebooks."""

from __future__ import annotations

import re
from typing import NoReturn

from segmind_jupyter.errors import SettingsError

_SHOWN = "<hidden>"

#: Shorter keys are not looked for in texts: blanking out every "abc" would garble them.
_MIN_SCRUBBED_CHARS = 8

#: What JSON within JSON within JSON puts before an escape; a bound, as a server may send millions.
_BACKSLASHES = r"\\{1,15}"


class Secret:
    """A secret text that shows itself nowhere.

    `%xmode Verbose` prints the value of every local name, so the key is never held as a plain
    `str` in a frame of ours; `reveal` is called in one place, where the request header is set.

    Parameters
    ----------
    text
        The secret; white space around it (a pasted newline) is dropped.

    Raises
    ------
    SettingsError
        The text is empty or cannot stand in an HTTP header.
    """

    __slots__ = ("__escaped", "__text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise SettingsError(f"An API key is a string, not {type(text).__name__}.")
        text = text.strip()
        if not text:
            raise SettingsError("The API key is empty. Run `%segmind key` to type one in.")
        # An HTTP library that refuses such a header quotes it in its own error message.
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise SettingsError(
                "The API key holds a character that no key has (a space, a control character or "
                "a letter outside ASCII). Copy it again and run `%segmind key`."
            )
        self.__text = text
        self.__escaped = re.compile("".join(map(_spelled, text)))

    def reveal(self) -> str:
        """Give the secret itself."""
        return self.__text

    def scrub(self, text: str) -> str:
        """Blank the secret out of `text`, for a server that quotes a refused key.

        Also where JSON escapes hide it, as in an answer that is kept as it came.
        """
        if len(self.__text) < _MIN_SCRUBBED_CHARS:
            return text
        text = text.replace(self.__text, _SHOWN)
        return self.__escaped.sub(_SHOWN, text) if "\\" in text else text

    def is_in(self, text: str) -> bool:
        """Tell whether `text` holds the secret."""
        return len(self.__text) >= _MIN_SCRUBBED_CHARS and self.__text in text

    def __repr__(self) -> str:
        return _SHOWN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(_SHOWN, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.__text == self.__text

    def __hash__(self) -> int:
        return hash(self.__text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("An API key is not pickled: set SEGMIND_API_KEY where it is needed.")

    def __getstate__(self) -> NoReturn:
        self.__reduce__()


def _spelled(letter: str) -> str:
    """Write the pattern of a letter, as it is or as JSON may escape it."""
    plain = re.escape(letter)
    if letter in '"/\\':
        plain = f"(?:{_BACKSLASHES})?{plain}"
    digits = "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in f"{ord(letter):02x}")
    return f"(?:{plain}|{_BACKSLASHES}u00{digits})"
