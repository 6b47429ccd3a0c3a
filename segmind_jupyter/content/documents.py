"""Documents in files: the pages of a PDF as pictures, and a notebook's cells in their order."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from segmind_jupyter.content import parts
from segmind_jupyter.content.images.encode import encode_image, image_from_bytes
from segmind_jupyter.content.parts import STANDARD, Image, Limits, Part, Text
from segmind_jupyter.content.tables import plural
from segmind_jupyter.content.text import cut, fenced
from segmind_jupyter.errors import ContentError
from segmind_jupyter.words import encodable

#: Of a longer PDF, the first so many pages go.
_MAX_PAGES: Final = 10

#: PDFium must not be called by two threads at once.
_PDFIUM: Final = threading.Lock()


def pdf_parts(
    source: Any,
    *,
    name: str | None = None,
    limits: Limits = STANDARD,
    pages: Iterable[int] | None = None,
) -> list[Part]:
    """Draw the pages of a PDF that is given by its path, its bytes or as a ``PdfDocument``."""
    name = name or (Path(source).name if isinstance(source, str | os.PathLike) else "PDF")
    with _PDFIUM:
        document = _opened(source, name)
        try:
            total = len(document)
            numbers = list(range(1, min(total, _MAX_PAGES) + 1) if pages is None else pages)
            wrong = [n for n in numbers if not 0 < n <= total]
            if wrong or not numbers:
                said = f", and no page {wrong[0]}" if wrong else "; name one of them"
                raise ContentError(f"{name} has {plural(total, 'page')}{said}.")
            images = []
            for n in numbers:  # page by page: all drawn at once take megabytes each
                page = document[n - 1]
                images.append(_drawn(page, limits, f"page {n}"))
                page.close()
        finally:
            if document is not source:
                document.close()
    said, left_out = f"{name}, {plural(total, 'page')}", ""
    notes: tuple[str, ...] = ()
    if pages is not None:
        left_out = f"page{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))} of {total}"
    elif total > _MAX_PAGES:
        left_out = f"pages 1-{_MAX_PAGES} of {total}"
        tokens, end = sum(image.tokens for image in images), min(2 * _MAX_PAGES, total)
        notes = (
            f"{name}: {left_out} go, ≈{tokens:,} tokens. For others name a list of them, such as "
            f"`pages = list(pypdfium2.PdfDocument(path))[{_MAX_PAGES}:{end}]`.",
        )
    said = f"{name}, {left_out}" if left_out else said
    return [Text(f"[{said}]", about=said, inline=False, notes=notes, left_out=left_out), *images]


def pdf_page(page: Any, *, limits: Limits = STANDARD) -> Image:
    """Draw one ``PdfPage`` of a document that the user opened."""
    with _PDFIUM:
        return _drawn(page, limits, "page")


def _opened(source: Any, name: str) -> Any:
    if parts.is_kind(source, "pypdfium2", "PdfDocument"):
        return source
    try:
        import pypdfium2
    except ImportError:
        raise ContentError(
            f"{name} is a PDF, and nothing that draws its pages is installed. Run "
            "`pip install pypdfium2` and try again."
        ) from None
    advice = "If it has a password, name `pypdfium2.PdfDocument(path, password=...)`."
    with parts.naming_failures(f"{name} cannot be opened as a PDF", advice):
        document = pypdfium2.PdfDocument(source)
        document.init_forms()  # else what was filled in is not drawn
    return document


def _drawn(page: Any, limits: Limits, about: str) -> Image:
    scale = limits.image_edge_px / max(1.0, *page.get_size())
    return encode_image(page.render(scale=scale).to_pil(), limits=limits, about=about)


#: The last so many pictures of a notebook go.
_MAX_PICTURES: Final = 8

#: Each text of an output is cut to so many characters.
_OUTPUT_CHARS: Final = 1_000

#: The colours of a terminal, and pictures that are written into a text.
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_DATA_URI: Final = re.compile(r"data:[\w/+.;=-]*;base64,[A-Za-z0-9+/=%]*(?:\s[A-Za-z0-9+/=]{40,})*")

#: The forms of an output that are read, the best first.
_FORMS: Final = (
    "image/png", "image/jpeg", "image/gif", "text/markdown", "text/plain", "text/latex",
)  # fmt: skip

#: A piece of a cell: its number, what it is (``source``, ``output`` or ``picture``), and its text
#: or base64.
_Piece = tuple[int, str, str]


def notebook_parts(data: bytes, *, name: str, limits: Limits) -> list[Part]:
    """Return a notebook's cells: source, texts, pictures, no base64; nothing if it is none."""
    try:
        document = json.loads(data)
        cells = document["cells"]
        language = str(document.get("metadata", {}).get("language_info", {}).get("name", "python"))
        read = [piece for n, cell in enumerate(cells, 1) for piece in _pieces(n, cell, language)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []
    size = plural(len(cells), "cell")
    head = f"{name}: notebook, {size}"
    room = limits.text_chars - len(head) - 80  # for a note
    said: list[str] = []
    shown: list[_Piece] = []
    for number, kind, text in read:
        words = cut(text, max_chars=_OUTPUT_CHARS) if kind == "output" else text
        if words != text and not said:
            said.append(f"outputs up to {_OUTPUT_CHARS:,} characters each")
        if kind != "picture" and len(words) > room:
            shown.append((number, kind, cut(words, max_chars=max(0, room))))
            shown.append((number, kind, f"[cells {number}-{len(cells)} of {len(cells)} are cut]"))
            said.append(f"{number - 1} of {len(cells)} cells whole")
            break
        room -= len(words) + 1 if kind != "picture" else 0
        shown.append((number, kind, words))
    last = [n for n, (_, kind, _) in enumerate(shown) if kind == "picture"][-_MAX_PICTURES:]
    found: list[Part] = []
    for n, (number, kind, text) in enumerate(shown):
        picture = _picture(text, f"cell {number}", limits) if n in last else None
        words = "[picture, not sent]" if kind == "picture" else encodable(text)
        found.append(picture or Text(words, inline=False))
    n_pictures = sum(kind == "picture" for _, kind, _ in read)
    n_sent = sum(isinstance(part, Image) for part in found)
    if n_sent < n_pictures:
        which = "the last " if n_sent == len(last) and len(shown) == len(read) else ""
        said.append(f"{which}{n_sent} of {n_pictures} pictures")
    about = f"notebook {name}, {size}"
    return [Text(head, about=about, inline=False, left_out=", ".join(said)), *found]


def _pieces(number: int, cell: Mapping[str, Any], language: str) -> Iterator[_Piece]:
    """Read a cell; what has another form raises."""
    kind = str(cell["cell_type"])
    source = _DATA_URI.sub("[data]", _joined(cell.get("source", "")))
    code = fenced(source, language=language) if kind == "code" else source
    yield number, "source", f"[cell {number}, {kind}]\n{code}"
    for attached in cell.get("attachments", {}).values():
        yield from _bundle(number, attached)
    for output in cell.get("outputs", []):
        if "ename" in output:
            yield number, "output", _clean(f"{output['ename']}: {_joined(output['evalue'])}")
        elif output.get("output_type") == "stream":
            yield number, "output", _clean(_joined(output["text"]))
        else:
            yield from _bundle(number, output["data"])


def _bundle(number: int, data: Mapping[str, Any]) -> Iterator[_Piece]:
    """Choose from the forms of an output: a picture, else the best of the texts."""
    mime = next((form for form in _FORMS if data.get(form)), None)
    if mime is None:
        yield from [(number, "output", f"[{next(iter(data))}, not sent]")] if data else []
    elif mime.startswith("image/"):
        yield number, "picture", _joined(data[mime])
    else:
        yield number, "output", _clean(_joined(data[mime]))


def _joined(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def _clean(text: str) -> str:
    return "Output:\n" + _DATA_URI.sub("[data]", _ANSI.sub("", text)).rstrip()


def _picture(text: str, about: str, limits: Limits) -> Image | None:
    """Decode a picture of an output; nothing where that is broken."""
    try:
        return image_from_bytes(base64.b64decode(text), limits=limits, about=about)
    except (ValueError, ContentError):
        return None
