"""Fingerprints of what was asked: hashes with a key that is in the journal's file alone.

A short prompt could be guessed from a plain hash. Knows neither jobs nor replies, nor the file.
"""

from __future__ import annotations

import hashlib
import secrets


class Fingerprints:
    """What one process knows of the key, and what it hashed while it could not read it.

    Until the file can be read, the process has a key of its own, so that its fingerprints still
    agree. What was hashed with that one is hashed anew with the file's before it goes there: no
    other kernel could find it again. What was asked stays in memory until then, never the file.
    """

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(32)
        self._blind: dict[str, bytes] = {}

    @property
    def blind(self) -> bool:
        """Whether any were made that hold in this process alone."""
        return bool(self._blind)

    def know(self, salt: bytes) -> None:
        """Take the key that the file has now: a file that was deleted comes back with another."""
        self._salt = salt

    def make(self, data: bytes, *, salt: bytes | None) -> str:
        """Hash what was asked.

        Parameters
        ----------
        data
            What was asked, or a plain hash of it.
        salt
            The key in the file; `None` where that cannot be read.
        """
        if salt is not None:
            self.know(salt)
        made = _hashed(data, self._salt)
        if salt is None:
            self._blind[made] = data
        return made

    def settled(self, fingerprint: str) -> str:
        """Give the fingerprint as it is in the file, as far as its key is known."""
        data = self._blind.get(fingerprint)
        return fingerprint if data is None else _hashed(data, self._salt)


def _hashed(data: bytes, salt: bytes) -> str:
    return hashlib.blake2b(data, key=salt, digest_size=16).hexdigest()
