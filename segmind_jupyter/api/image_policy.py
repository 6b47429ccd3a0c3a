"""How many images of earlier messages a conversation sends again. Pure numbers: knows no blocks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from segmind_jupyter.errors import SettingsError, shortened

_LAST: Final = re.compile(r"(?:last )?(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """A bound on what one request holds, kept by leaving the oldest images out.

    `KEEP_ALL`, `FIT` and `keep_last` make the usual ones; ``str(policy)`` is the word by which
    `ImagePolicy.of` finds it again.

    Parameters
    ----------
    word
        What a person calls it: ``"fit"``, ``"all"``, ``"last 3"``.
    reason
        Why an image is left out, as part of a sentence.
    max_images
        Most images in a request; any number if `None`.
    max_bytes
        Most bytes of the encoded messages, base64 included; any number if `None`.
    lowered_to
        Share of the bounds that is left over once one of them is passed. With less than 1 the
        next images find room: what is left out changes seldom, so that the beginning of the
        conversation stays what a server may have cached, and people are told seldom.
    """

    word: str
    reason: str = ""
    max_images: int | None = None
    max_bytes: int | None = None
    lowered_to: float = 1.0

    @classmethod
    def of(cls, value: ImagePolicy | str | int) -> ImagePolicy:
        """Read what a person may write: ``"fit"``, ``"all"``, ``3``, ``"3"`` or ``"last 3"``.

        Raises
        ------
        SettingsError
            It is none of these.
        """
        if isinstance(value, cls):
            return value
        word = " ".join(str(value).lower().split())
        if word in _BY_WORD:
            return _BY_WORD[word]
        if match := _LAST.fullmatch(word):
            return keep_last(int(match[1]))
        raise SettingsError(
            f"{shortened(repr(value))} does not say which images are sent again. Write 'fit', "
            "'all', or how many of the newest, such as 3."
        )

    def __str__(self) -> str:
        return self.word

    def surplus(self, old: Sequence[int], *, own_images: int = 0, other_bytes: int = 0) -> int:
        """Count the old images that have to be left out of a request.

        Parameters
        ----------
        old
            Bytes of each image of earlier messages that is still sent, oldest first.
        own_images
            How many images the new message holds; these always stay.
        other_bytes
            Bytes of all the rest, the images of the new message among it.

        Returns
        -------
        int
            So many of `old`, from the beginning: all of them where that is not enough either.
        """
        n_bytes = other_bytes + sum(old)
        if self._holds(own_images + len(old), n_bytes):
            return 0
        for count, image_bytes in enumerate(old):
            if self._holds(own_images + len(old) - count, n_bytes, share=self.lowered_to):
                return count
            n_bytes -= image_bytes
        return len(old)

    def _holds(self, images: int, n_bytes: int, *, share: float = 1.0) -> bool:
        return (self.max_images is None or images <= self.max_images * share) and (
            self.max_bytes is None or n_bytes <= self.max_bytes * share
        )


def keep_last(count: int) -> ImagePolicy:
    """Send the newest `count` images alone, those of the new message included; 0 for no old one.

    Raises
    ------
    SettingsError
        `count` is negative.
    """
    if count < 0:
        raise SettingsError(f"{count} images cannot be kept. Give 0 or more.")
    kept = "one is" if count == 1 else f"{count} are"
    reason = f"only the last {kept} kept" if count else "each image is sent once"
    return ImagePolicy(f"last {count}", reason, max_images=count)


#: Send every image every time. Segmind's gateway takes 32 MB, the models take 100 images.
KEEP_ALL: Final = ImagePolicy("all")

#: Stay within 20 images, above which Anthropic bounds their sides to 2000 px (Anthropic's vision
#: page), and within 20 MB: far enough from the 32 MB that a request takes to hold the system
#: prompt and the parameters too.
FIT: Final = ImagePolicy(
    "fit",
    "a request is kept within 20 images and 20 MB",
    max_images=20,
    max_bytes=20_000_000,
    lowered_to=0.75,
)

_BY_WORD: Final = {policy.word: policy for policy in (KEEP_ALL, FIT)}
