"""Writes the transcript of a chat to a file, and never over another one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.errors import SegmindError
from segmind_jupyter.notebook.display.sanitize import is_address
from segmind_jupyter.notebook.display.text import one_line, to_text

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    from segmind_jupyter.chat import Chat


#: The headings of the file itself are of the levels 1 and 2.
_DEEPER: Final = 2
_DEEPEST: Final = 6

#: What has not come to rest after so many rounds, or is nested deeper, is written as typed.
_MAX_ROUNDS: Final = 12
_MAX_NESTING: Final = 100

#: What means something in a line of Markdown, wherever it stands.
_MARKS = re.compile(r"[\\`*_\[\]<>#|~$&!]")

#: What ends a part, if nothing holds it open.
_NEXT: Final = "\n\n## next"

_FENCES = re.compile("`{3,}")


def inert(text: str, *, quoted: bool = False, define: bool = True) -> str:
    """Return untrusted Markdown as a part of a file, to be set between blank lines."""
    prefix = "> " if quoted else ""
    written = to_text(text).strip("\n").rstrip().split("\n")
    lines = [f"{prefix}{line}" if line else prefix.rstrip() for line in written]
    part = _Part(lines, define=define)
    try:
        part.rest()
        return part.closed()
    except Exception:  # noqa: BLE001 - the reply is paid for: written as typed, whatever broke
        return _verbatim(lines, prefix)


def is_live(text: str) -> bool:
    """Return whether a CommonMark renderer makes images or raw HTML of some Markdown."""
    return any(_is_live(t) for parser in _parsers() for t in _every(parser.parse(text)))


def escaped(words: str) -> str:
    """Return words as one line of Markdown that shows them as they are."""
    return _MARKS.sub(r"\\\g<0>", one_line(words))


class _RestlessError(Exception):
    """Markdown that is better written as typed."""


@dataclass
class _Part:
    """Lines that are changed until nothing in them is live."""

    lines: list[str]
    define: bool
    #: Lines that were changed with care, and were live nevertheless.
    changed: set[int] = field(default_factory=set)

    def rest(self) -> None:
        for _ in range(_MAX_ROUNDS):
            before = list(self.lines)
            for parser in _parsers():
                self._tame(parser)
            if self.lines == before:
                return
        raise _RestlessError

    def closed(self) -> str:
        """Return the text, with an end for the fence that it has left open."""
        text = "\n".join(self.lines)
        if not _ends(text):
            text += f"\n{_parsers()[0].parse(text)[-1].markup}"
        if not _ends(text) or is_live(text):
            raise _RestlessError
        return text

    def _tame(self, parser: MarkdownIt) -> None:
        env: dict[str, Any] = {}
        tokens = parser.parse("\n".join(self.lines), env)
        if any(token.level >= _MAX_NESTING for token in _every(tokens)):
            raise _RestlessError
        for token in tokens:
            if token.map is None:
                continue
            begin, end = token.map
            if token.type == "html_block":
                self.lines[begin] = self.lines[begin].replace("<", "&lt;", 1)
            elif token.type == "heading_open" and not token.level:
                self._deepen(begin, end, int(token.tag[1:]), is_underlined=token.markup in "=-")
            elif any(map(_is_live, _every(token.children or ()))):
                self._change(begin, end)
        for begin in self._unwanted(env):
            self.lines[begin] = self.lines[begin].replace("[", r"\[", 1)

    def _deepen(self, begin: int, end: int, level: int, *, is_underlined: bool) -> None:
        marks = "#" * min(level + _DEEPER, _DEEPEST)
        if is_underlined:
            words = " ".join(line.strip() for line in self.lines[begin : end - 1])
            self.lines[begin:end] = [f"{marks} {words}", *[""] * (end - begin - 1)]
        elif level <= _DEEPER:
            self.lines[begin] = re.sub("#+", marks, self.lines[begin], count=1)

    def _change(self, begin: int, end: int) -> None:
        """Change what is live, and where that was in vain all that could be."""
        places = range(begin, end)
        change = _bluntly if self.changed.issuperset(places) else _carefully
        self.lines[begin:end] = change("\n".join(self.lines[begin:end])).split("\n")
        self.changed.update(places)

    def _unwanted(self, env: dict[str, Any]) -> Iterator[int]:
        """Return the lines at which an address is defined that must not be."""
        known = [*env.get("references", {}).values(), *env.get("duplicate_refs", ())]
        for reference in known:
            if not self.define or not _is_harmless(reference["href"]):
                yield reference["map"][0]


def _ends(text: str) -> bool:
    """Return whether what follows is no part of it any more."""
    *_, opened, _, _ = _parsers()[0].parse(text + _NEXT)
    return opened.type == "heading_open" and not opened.level


def _is_live(token: Token) -> bool:
    if token.type == "link_open":
        return not _is_harmless(str(token.attrs["href"]))
    return token.type in {"html_block", "html_inline", "image"}


def _is_harmless(href: str) -> bool:
    """Return whether a link leads to the web, or to nowhere but the file's own folder."""
    return is_address(href) or not re.match(r"\s*[^/?#\s]*:", href)


def _carefully(text: str) -> str:
    """Escape tags and images; code stays as it is."""
    return _spans().sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    if match["tag"]:
        return rf"\{match['tag']}"
    return r"!\[" if match["image"] else match[0]


def _bluntly(text: str) -> str:
    return text.replace("<", "&lt;").replace("[", "&#91;")


@cache
def _spans() -> re.Pattern[str]:
    from markdown_it.common.html_re import HTML_TAG_RE

    code = r"(?<!`)(?P<run>`+)(?!`).*?(?<!`)(?P=run)(?!`)"
    tag = HTML_TAG_RE.pattern.removeprefix("^")  # markdown-it-py 3 anchors it
    return re.compile(rf"\\.|{code}|(?P<tag>{tag})|(?P<image>!\[)", re.DOTALL)


def _verbatim(lines: Sequence[str], prefix: str) -> str:
    fence = "`" + max(_FENCES.findall("\n".join(lines)), key=len, default="``")
    return "\n".join([prefix + fence, *lines, prefix + fence])


def _every(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _every(token.children or ())


@cache
def _parsers() -> tuple[MarkdownIt, ...]:
    """Return what stands for the renderers of this world: with and without tables."""
    from markdown_it import MarkdownIt

    plain = MarkdownIt("commonmark", {"html": True, "maxNesting": 2 * _MAX_NESTING})
    tables = MarkdownIt("commonmark", {"html": True, "maxNesting": 2 * _MAX_NESTING})
    tables.enable(["table", "strikethrough"])
    for parser in (plain, tables):
        parser.validateLink = _anything  # type: ignore[assignment,method-assign]
    return plain, tables


def _anything(_: str) -> bool:
    """Admit every address, as a careless renderer does."""
    return True


#: What file systems agree on; the rest of a name becomes hyphens.
_NOT_PLAIN = re.compile(r"[^\w.]+", re.ASCII)

_MAX_NAME_CHARS = 60


def save(chat: Chat, folder: Path, *, now: time.struct_time | None = None) -> Path:
    """Write a transcript as Markdown into `folder`, and tell where."""
    name = _NOT_PLAIN.sub("-", chat.name).strip("-.")[:_MAX_NAME_CHARS] or "chat"
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S', now or time.localtime())}"
    text, number = chat.to_markdown(), 1
    while True:
        path = folder / (f"{stem}.md" if number == 1 else f"{stem}-{number}.md")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise SegmindError(
                f"The transcript could not be written to {path} ({error.strerror}). Change to "
                "another folder with `%cd`, or keep `chat.to_markdown()` yourself."
            ) from error
        else:
            return path
