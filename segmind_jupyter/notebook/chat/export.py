"""Untrusted Markdown as an inert part of a file, and the file of a chat, never over another one.

What would be live is written as entities, which no renderer takes for markup; a backslash would
not do, as GFM's bare addresses swallow one.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.errors import SegmindError
from segmind_jupyter.notebook.display.markdown import MAX_MARKDOWN_CHARS
from segmind_jupyter.notebook.display.sanitize import is_address
from segmind_jupyter.words import one_line, to_text

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    from segmind_jupyter.chat import Chat

#: The headings of the file itself are of the levels 1 and 2.
_DEEPER: Final = 2
_DEEPEST: Final = 6

#: What is nested deeper, also in brackets, is written as typed: parsers take their time for it.
_MAX_NESTING: Final = 100

#: What means something in a line of Markdown, wherever it stands.
_MARKS = re.compile(r"[\\`*_\]>#|~$!]")

#: What may be live in a line outside of code: tags (also behind a backslash), images, footnotes.
#: An address in angle brackets, and what a backslash escapes otherwise, stay as they are.
_LIVE = (
    r"<(?:https?://|mailto:)[^\s<>]*>|(?P<tag>\\?<(?=[A-Za-z/!?]))|(?P<image>\\?!\\?\[)"
    r"|(?P<note>\[\^)|\\."
)
_CODE = r"|(?<!`)(?P<run>`+)(?!`)(?P<code>.*?)(?<!`)(?P=run)(?!`)"
_LIVE_OR_CODE = re.compile(_LIVE + _CODE, re.DOTALL)
_LIVE_ANYWHERE = re.compile(_LIVE, re.DOTALL)

#: A bare address, of which GFM makes a link: it swallows marks that begin or end code, or escape.
_GREEDY_ADDRESS = re.compile(r"(?:://|www\.)[^\s<]*[`\\]", re.IGNORECASE)

#: Rounds in which what is live is changed where it stands; after them, everywhere.
_ROUNDS: Final = 3

_FENCES = re.compile("`{3,}")


def inert(text: str, *, quoted: bool = False) -> str:
    """Return untrusted Markdown as a part of a file, to be set between blank lines."""
    prefix = "> " if quoted else ""
    written = to_text(text).strip("\n").rstrip().split("\n")
    lines = [f"{prefix}{line}" if line else prefix.rstrip() for line in written]
    with contextlib.suppress(Exception):  # the reply is paid for: written as typed, whatever broke
        if len(text) <= MAX_MARKDOWN_CHARS and _brackets(lines) < _MAX_NESTING:
            return _closed(_tamed(_without_tags(lines)))
    fence = "`" + max(_FENCES.findall("\n".join(lines)), key=len, default="``")
    return "\n".join([prefix + fence, *lines, prefix + fence])


def escaped(words: str) -> str:
    """Return words as one line of Markdown that shows them as they are."""
    return _entities(_MARKS.sub(r"\\\g<0>", one_line(words).replace("&", "&amp;")))


def _entities(text: str) -> str:
    return text.replace("<", "&lt;").replace("[", "&#91;")


def _brackets(lines: list[str]) -> int:
    """Return how many brackets are open at once; none is beyond a blank line."""
    deepest = depth = 0
    for line in lines:
        depth = 0 if not line.strip("> \t") else depth
        for mark in re.findall(r"[\[\]]", line):
            depth = depth + 1 if mark == "[" else max(0, depth - 1)
            deepest = max(deepest, depth)
    return deepest


class _RestlessError(Exception):
    """Markdown that is better written as typed."""


def _without_tags(lines: list[str]) -> list[str]:
    """Write entities for what may be a tag, an image or a footnote outside of code."""
    if not re.search(r"<|!\\?\[|\[\^", "\n".join(lines)):
        return lines
    code = set(range(len(lines)))
    for tokens, _ in _parsed(lines):
        blocks = (token.map for token in tokens if token.type in {"fence", "code_block"})
        code &= {line for begin, end in filter(None, blocks) for line in range(begin, end)}
    changed = list(lines)
    chunk: list[int] = []
    for number in range(len(lines) + 1):
        # No code span goes on behind a blank line.
        if number < len(lines) and number not in code and lines[number].strip("> \t"):
            chunk.append(number)
        elif chunk:
            text = "\n".join(lines[line] for line in chunk)
            # Where a bar or an address cuts it, what looks like a span of code may be none.
            spans = [match["code"] or "" for match in _LIVE_OR_CODE.finditer(text)]
            is_doubtful = any("|" in span for span in spans) or _GREEDY_ADDRESS.search(text)
            pattern = _LIVE_ANYWHERE if is_doubtful else _LIVE_OR_CODE
            text = pattern.sub(partial(_escape, last=text.rfind(">")), text)
            for line, new in zip(chunk, text.split("\n"), strict=True):
                changed[line] = new
            chunk = []
    return changed


def _escape(match: re.Match[str], last: int) -> str:
    """Write entities for one of them; `last` is where the last tag can end."""
    if match["tag"]:
        # `a<b` begins no block of HTML, and no tag either if nothing ends it.
        is_less = re.match(r"[\w)}$]", match.string[match.start() - 1 : match.start()])
        return match[0] if is_less and match.start() > last else "&lt;"
    return "!&#91;" if match["image"] else "&#91;^" if match["note"] else match[0]


def _tamed(lines: list[str]) -> list[str]:
    """Change lines until nothing in them is live, and no heading is one of the file's own."""
    lines = list(lines)
    for round_ in range(2 * _ROUNDS):
        before = list(lines)
        if round_ == _ROUNDS:
            lines = [_entities(line) for line in lines]
        for tokens, references in _parsed(lines):
            for token in tokens:
                begin, end = token.map or (0, 0)
                if token.type == "heading_open" and not token.level:
                    _deepen(lines, begin, end, token)
                elif any(map(_is_live, _every([token]))):
                    lines[begin:end] = map(_entities, lines[begin:end])
            for reference in references:
                if not _is_harmless(reference["href"]):
                    begin, end = reference["map"]
                    lines[begin:end] = map(_entities, lines[begin:end])
        if lines == before:
            return lines
    raise _RestlessError


def _deepen(lines: list[str], begin: int, end: int, heading: Token) -> None:
    level = int(heading.tag[1:])
    marks = "#" * min(level + _DEEPER, _DEEPEST)
    if heading.markup in "=-":  # underlined
        words = " ".join(line.strip() for line in lines[begin : end - 1])
        lines[begin:end] = [f"{marks} {words}", *[""] * (end - begin - 1)]
    elif level <= _DEEPER:
        lines[begin] = re.sub("#+", marks, lines[begin], count=1)


def _closed(lines: list[str]) -> str:
    """Return the text, with an end for the fence that it may have left open."""
    text = "\n".join(lines)
    for end in ("", f"\n{_parsers()[0].parse(text)[-1].markup}" if text else ""):
        # What follows is no part of it.
        *_, opened, _, _ = _parsers()[0].parse(f"{text}{end}\n\n## next")
        if opened.type == "heading_open" and not opened.level:
            return text + end
    raise _RestlessError


def _is_live(token: Token) -> bool:
    if token.type == "link_open":
        return not _is_harmless(str(token.attrs["href"]))
    return token.type in {"html_block", "html_inline", "image"}


def _is_harmless(href: str) -> bool:
    """Return whether a link leads to the web, or to nowhere but the file's own folder."""
    return is_address(href) or not re.match(r"\s*[^/?#\s]*:", href)


def _every(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _every(token.children or ())


def _parsed(lines: list[str]) -> Iterator[tuple[list[Token], list[dict[str, Any]]]]:
    """Parse lines, as they are by then, as the renderers of this world do; with definitions."""
    for parser in _parsers():
        env: dict[str, Any] = {}
        tokens = parser.parse("\n".join(lines), env)
        if any(token.level >= _MAX_NESTING for token in _every(tokens)):
            raise _RestlessError
        yield tokens, [*env.get("references", {}).values(), *env.get("duplicate_refs", ())]


@cache
def _parsers() -> tuple[MarkdownIt, ...]:
    """Return parsers with and without tables, which admit any address as a careless one does."""
    from markdown_it import MarkdownIt

    plain = MarkdownIt("commonmark", {"html": True, "maxNesting": 2 * _MAX_NESTING})
    tables = MarkdownIt("commonmark", {"html": True, "maxNesting": 2 * _MAX_NESTING})
    tables.enable(["table", "strikethrough"])
    for parser in (plain, tables):
        parser.validateLink = lambda url: True  # type: ignore[method-assign]
    return plain, tables


#: What file systems agree on; the rest of a name becomes hyphens.
_NOT_PLAIN = re.compile(r"[^\w.]+", re.ASCII)

_MAX_NAME_CHARS = 60


def save(chat: Chat, folder: Path, *, now: time.struct_time | None = None) -> Path:
    """Write a transcript as Markdown into `folder`, and tell where."""
    name = _NOT_PLAIN.sub("-", chat.name).strip("-.")[:_MAX_NAME_CHARS] or "chat"
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S', now or time.localtime())}"
    text = chat.to_markdown()
    for number in itertools.count(1):
        path = folder / (f"{stem}.md" if number == 1 else f"{stem}-{number}.md")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue
        except OSError as error:
            raise SegmindError(
                f"The transcript could not be written to {path} ({error.strerror}). Change to "
                "another folder with `%cd`, or keep `chat.to_markdown()` yourself."
            ) from error
        return path
    raise AssertionError("numbers do not end")
