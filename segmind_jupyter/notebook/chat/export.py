"""Untrusted Markdown as an inert part of a file, and the file of a chat, never over another one.

What would be live is written as entities, which no renderer takes for markup; a backslash would
not do, as GFM's bare addresses swallow one.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.errors import SegmindError
from segmind_jupyter.notebook.display.markdown import MAX_MARKDOWN_CHARS
from segmind_jupyter.notebook.display.sanitize import is_address
from segmind_jupyter.words import one_line, to_text

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

    from segmind_jupyter.chat import Chat

#: The headings of the file itself.
_OWN_HEADINGS: Final = ("h1", "h2")

#: What is nested deeper, also in brackets, is written as typed: parsers take their time for it.
_MAX_NESTING: Final = 100

#: What means something in a line of Markdown, wherever it stands.
_MARKS = re.compile(r"[\\`*_\]>#|~$!]")

#: What may be live in a line outside of code: tags (also behind a backslash), images, footnotes,
#: definitions without an address (some parsers take the fence below for it, and open what it
#: holds), and links to what is not the web. An address in angle brackets, and what a backslash
#: escapes otherwise, stay as they are.
_LIVE = (
    r"<(?:https?://|mailto:)[^\s<>]*>|(?P<tag>\\?<(?=[A-Za-z/!?]))|(?P<image>\\?!\\?\[)"
    r"|(?P<note>\[(?=\^|[^\[\]\n]+\]:[ \t]*(?:\n|\Z)))"
    r"|(?P<link>\\?\]\()(?=\s*<?(?!https?://|mailto:)[^\s()<>/]*(?::|\\|&[#\w]))"
    r"|\\."
)
_CODE = r"|(?<!`)(?P<run>`+)(?!`)(?P<code>.*?)(?<!`)(?P=run)(?!`)"
_LIVE_OR_CODE = re.compile(_LIVE + _CODE, re.DOTALL)
_LIVE_ANYWHERE = re.compile(_LIVE, re.DOTALL)

#: A bare address, of which GFM makes a link: it swallows marks that begin or end code, or escape.
_GREEDY_ADDRESS = re.compile(r"(?:://|www\.)[^\s<]*[`\\]", re.IGNORECASE)

#: What is written in place of it.
_INERT: Final = {"tag": "&lt;", "image": "!&#91;", "note": "&#91;", "link": "]&#40;"}

_FENCES = re.compile("`{3,}")


def inert(text: str, *, quoted: bool = False) -> str:
    """Return untrusted Markdown as a part of a file, to be set between blank lines."""
    prefix = "> " if quoted else ""
    written = to_text(text).strip("\n").rstrip().split("\n")
    lines = [f"{prefix}{line}" if line else prefix.rstrip() for line in written]
    with contextlib.suppress(Exception):  # the reply is paid for: written as typed, whatever broke
        if len(text) <= MAX_MARKDOWN_CHARS and _brackets(text) < _MAX_NESTING:
            inert_text = _without_tags(lines)
            # A fence may have been left open, as in a reply that was cut.
            for end in ("", f"\n{_parsers()[0].parse(inert_text)[-1].markup}"):
                if _is_settled(inert_text + end):
                    return inert_text + end
    fence = "`" + max(_FENCES.findall("\n".join(lines)), key=len, default="``")
    return "\n".join([prefix + fence, *lines, prefix + fence])


def escaped(words: str) -> str:
    """Return words as one line of Markdown that shows them as they are."""
    marked = _MARKS.sub(r"\\\g<0>", one_line(words).replace("&", "&amp;"))
    return marked.replace("<", "&lt;").replace("[", "&#91;")


def _brackets(text: str) -> int:
    """Return how many brackets are open at once."""
    steps = (1 if mark == "[" else -1 for mark in re.findall(r"[\[\]]", text))
    return max(itertools.accumulate(steps, lambda depth, step: max(0, depth + step)), default=0)


def _without_tags(lines: list[str]) -> str:
    """Write entities for what may be live outside of code, and headings deeper than the file's."""
    code = set(range(len(lines)))
    for parser in _parsers():
        tokens = parser.parse("\n".join(lines))
        blocks = [t.map for t in tokens if t.map and t.type in {"fence", "code_block"}]
        code &= {line for begin, end in blocks for line in range(begin, end)}

    def is_words(number: int) -> bool:  # no code span goes on behind a blank line
        return number not in code and bool(lines[number].strip("> \t"))

    changed: list[str] = []
    for words, numbers in itertools.groupby(range(len(lines)), key=is_words):
        chunk = "\n".join(lines[number] for number in numbers)
        changed += (_escaped_chunk(chunk) if words else chunk).split("\n")
    for parser in _parsers():
        for token in parser.parse("\n".join(changed)):
            is_underlined = token.markup in "=-"
            if token.tag in _OWN_HEADINGS and token.map and not (token.level or is_underlined):
                changed[token.map[0]] = changed[token.map[0]].replace("#", "###", 1)
    return "\n".join(changed)


def _escaped_chunk(text: str) -> str:
    """Write entities for what may be a tag, an image or a footnote, outside of spans of code."""
    # Where a bar, an address, or a block that begins in the midst of it (parsers differ in which
    # do) cuts it, what looks like a span of code may be none.
    spans = [match["code"] or "" for match in _LIVE_OR_CODE.finditer(text)]
    is_cut = any("|" in span or "\n" in span for span in spans) or _GREEDY_ADDRESS.search(text)
    last_end = text.rfind(">")

    def escape(match: re.Match[str]) -> str:
        # `a<b` begins no block of HTML, and no tag either if nothing ends it.
        is_less = re.match(r"[\w)}$]", text[match.start() - 1 : match.start()])
        if match["tag"] and is_less and match.start() > last_end:
            return match[0]
        return _INERT.get(match.lastgroup or "", match[0])

    return (_LIVE_ANYWHERE if is_cut else _LIVE_OR_CODE).sub(escape, text)


def _is_settled(text: str) -> bool:
    """Return whether no renderer of this world finds anything live, or an end that is open."""
    for parser in _parsers():
        env: dict[str, Any] = {}
        tokens = parser.parse(f"{text}\n\n## next", env)
        *own, heading, _, _ = tokens  # of what follows, which is no part of it
        references = [*env.get("references", {}).values(), *env.get("duplicate_refs", ())]
        links = [str(reference["href"]) for reference in references]
        for token in itertools.chain(own, *(token.children or () for token in own)):
            if token.type in {"html_block", "html_inline", "image"} or token.level >= _MAX_NESTING:
                return False
            if token.type == "heading_open" and not token.level and token.tag in _OWN_HEADINGS:
                return False
            if token.type == "link_open":
                links.append(str(token.attrs["href"]))
        # A link leads to the web, or to nowhere but the file's own folder.
        bad = [href for href in links if re.match(r"\s*[^/?#\s]*:", href) and not is_address(href)]
        if heading.type != "heading_open" or heading.level or bad:
            return False
    return True


@cache
def _parsers() -> tuple[MarkdownIt, ...]:
    """Return parsers with and without tables, which admit any address as a careless one does."""
    from markdown_it import MarkdownIt

    plain, tables = (
        MarkdownIt("commonmark", {"html": True, "maxNesting": 2 * _MAX_NESTING}) for _ in range(2)
    )
    tables.enable(["table", "strikethrough"])
    for parser in (plain, tables):
        parser.validateLink = lambda url: True  # type: ignore[method-assign]
    return plain, tables


#: What file systems agree on; the rest of a name becomes hyphens.
_NOT_PLAIN = re.compile(r"[^\w.]+", re.ASCII)

_MAX_NAME_CHARS = 60


def save(chat: Chat, folder: Path) -> Path:
    """Write a transcript as Markdown into `folder`, and tell where."""
    name = _NOT_PLAIN.sub("-", chat.name).strip("-.")[:_MAX_NAME_CHARS] or "chat"
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, n = folder / f"{stem}.md", 1
    while path.exists():
        path, n = folder / f"{stem}-{n + 1}.md", n + 1
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(chat.to_markdown())
    except OSError as error:
        raise SegmindError(
            f"The transcript could not be written to {path} ({error.strerror}). Change to "
            "another folder with `%cd`, or keep `chat.to_markdown()` yourself."
        ) from error
    return path
