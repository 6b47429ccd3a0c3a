"""`--alt` and `python -m segmind_jupyter alt`: figures are shown once, with their words.

The HTML is built of escaped words and of base64 alone, and looks as the plain output does. A file
is untrusted: nothing of it is run, it is read as JSON, and its pictures are decoded as any are.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import html
import json
import os
import re
import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from segmind_jupyter import described
from segmind_jupyter.batch import ask_each
from segmind_jupyter.budget import amount_of
from segmind_jupyter.content.images.figures import figure_of
from segmind_jupyter.content.register import as_bytes
from segmind_jupyter.described import Description, checked_languages, told
from segmind_jupyter.errors import ContentError, Interrupted, ReplyError, SegmindError
from segmind_jupyter.notebook.display.reply import Display, provenance, usage_line
from segmind_jupyter.notebook.display.styles import FRAME, div, folded
from segmind_jupyter.notebook.plots.formats import Pixels, VectorPlot, picture_in
from segmind_jupyter.notebook.plots.last_plot import LastPlots, replaced
from segmind_jupyter.session import session
from segmind_jupyter.words import one_line, to_text

#: What a transparent figure needs behind it, as JupyterLab has it in its other theme.
_GROUNDS: Final = {"light": "#fff", "dark": "#111"}


def figure_bundle(value: Description, picture: Pixels) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the data and the metadata of an output: the picture once, with its words."""
    data = picture.data
    if isinstance(data, str):
        is_svg = picture.mime == "image/svg+xml"
        data = data.encode("utf-8", "replace") if is_svg else as_bytes(data)
    coded = base64.b64encode(data).decode("ascii")
    about: Mapping[str, Any] = picture.metadata.get(picture.mime) or {}
    facts = [f'src="data:{picture.mime};base64,{coded}"']
    facts.append(f'alt="{html.escape(one_line(value.alt))}"')
    for side in ("width", "height"):  # of a dense screen, as the plain output has them
        if type(about.get(side)) in (int, float):
            facts.append(f'{side}="{about[side]:g}"')
    ground = _GROUNDS.get(str(picture.metadata.get("needs_background")))
    if ground is not None:
        facts.append(f'style="background-color:{ground}"')
    captions = "".join(_folded(each) for each in (value, *value.others) if each.long)
    caption = f"<figcaption>{captions}</figcaption>" if captions else ""
    page = (
        f'<figure class="mathjax_ignore tex2jax_ignore" style="margin:0" '
        f'lang="{html.escape(value.language)}"><img {" ".join(facts)}>{caption}</figure>'
    )
    texts = {"alt": one_line(value.alt), **({"long": value.long} if value.long else {})}
    metadata = {**picture.metadata, picture.mime: {**about, **texts}}
    if value.reply is not None:
        metadata |= provenance(value.reply)
    return {"text/html": page, "text/plain": str(value), picture.mime: picture.data}, metadata


def _folded(value: Description) -> str:
    language = html.escape(value.language)
    words = html.escape(value.long).replace("\n", "<br>")
    took = "" if value.reply is None else div("about", html.escape(usage_line(value.reply)))
    inside = f'<div lang="{language}" style="{FRAME["long"]}">{words}</div>{took}'
    return folded(f'<span style="{FRAME["quiet"]}">Description ({language})</span>', inside)


class DescriptionDisplay(Display):
    """How a `Description` shows: as its figure, once, with its words."""

    def show_itself(self, value: Description) -> None:
        """Show it where the cell waited for it, or below; in one cell once."""
        if self._waits is None or self._live is None or self._waits.has_shown(value):
            return
        self._live.put_where_waited(*figure_bundle(value, self._picture(value.figure)))

    def _picture(self, value: Any) -> Pixels:
        """Draw it as its plain output is drawn, or else as it was sent."""
        if isinstance(value, Pixels):
            return value
        figure = figure_of(value)
        data, metadata = self._shell.display_formatter.format(value if figure is None else figure)
        inline = sys.modules.get("matplotlib_inline.backend_inline")
        if inline is not None and figure is not None:
            metadata = {**metadata, **(inline._fetch_figure_metadata(figure) or {})}
            if figure in inline.show._to_draw:  # at the end of the cell, once more
                inline.show._to_draw.remove(figure)
            if inline.InlineBackend.instance().close_figures:  # as it would do there
                sys.modules["matplotlib.pyplot"].close(figure)
        picture = picture_in(data, metadata)
        if isinstance(picture, Pixels) and picture.mime in data:
            return picture
        from segmind_jupyter.content.convert import to_blocks

        sent = next(block["source"] for block in to_blocks(value) if block["type"] == "image")
        return Pixels(sent["data"], sent["media_type"])


class AltTexts:
    """What `--alt` does, as its line says: asks for the words of figures, or takes the user's."""

    def __init__(self, shell: Any, args: Namespace, words: str | None) -> None:
        self._shell, self._args, self._words = shell, args, words
        self._languages = checked_languages(args.language or "en")
        self._source, self._ended = "", False
        self._found: list[Any] = []
        self._failure: BaseException | None = None

    def above(self) -> tuple[Any, bool]:
        """Describe the plot above, in its place if it can change; tells whether it did."""
        plots = LastPlots.of(self._shell)
        if plots is None:
            raise ContentError("No plot can be seen here. `%load_ext segmind_jupyter` first.")
        plots.sent(limits=session().options.limits)  # or it says what to do with such a plot
        (shown,) = plots.last()
        picture: Any = shown.picture
        number = re.search(r"\[(\d+)\]", shown.name)
        cells = self._shell.user_ns.get("In", [])
        self._source = "".join(cells[int(number[1]) :][:1]) if number else ""
        value = self._described(picture)
        if shown.display_id is None or not isinstance(value, Description):
            return value, False
        bundle, metadata = figure_bundle(value, picture)
        name = {"display_id": shown.display_id}
        self._shell.display_pub.publish(bundle, metadata, transient=name, update=True)
        return value, True

    def _described(self, picture: Pixels) -> Any:
        """Return the description of a picture, or what would be asked."""
        data = described.facts_of(picture.figure())
        if self._words is not None:
            about = picture.metadata.get(picture.mime) or {}
            long = str(about.get("long", ""))  # what was asked for before stays
            return Description(self._words, long, data, self._languages[0], figure=picture)
        names = ("system", "max_tokens", "temperature", "timeout", "cache")
        how = {name: getattr(self._args, name) for name in names}
        how |= {"model": next(iter(self._args.model), None), **dict(self._args.param)}
        about = (self._languages, self._source, data, how)
        return described.asked(picture, *about, dry=self._args.dry_run)

    def begin(self, source: str) -> None:
        """Show the figures of the running cell with their words, in place of the plain output."""
        self._source = source
        #: What becomes of the cell: figures of one that failed are shown as they are.
        self._result = self._shell.displayhook.exec_result
        self._put_back = [
            replaced(self._shell.display_pub, "publish", self._publish),
            replaced(self._shell.displayhook, "write_format_data", self._publish),
        ]
        self._shell.events.register("post_run_cell", self._end)

    def _publish(
        self, plain: Callable[..., Any], data: Any, metadata: Any = None, *args: Any, **how: Any
    ) -> Any:
        """Show a picture with its words; anything else, and one whose words fail, as it is."""
        plots = LastPlots.of(self._shell)
        picture = picture_in(data, metadata or {}, plots.formatted if plots else lambda: None)
        failed = self._failure or getattr(self._result, "error_in_exec", None)
        if self._ended or failed or how.get("update") or not is_plain(picture, data):
            return plain(data, metadata, *args, **how)
        try:
            value = self._described(picture)
        except (Exception, Interrupted) as error:  # noqa: BLE001 - the figure shows in any case
            self._failure = error
            return plain(data, metadata, *args, **how)
        self._found.append(value)
        if not isinstance(value, Description):
            plain(data, metadata, *args, **how)
        from IPython.display import display

        return display(value)

    def _end(self, result: Any = None) -> None:
        self._ended = True
        self._shell.events.unregister("post_run_cell", self._end)
        for put_back in reversed(self._put_back):
            put_back()
        if self._args.out and self._found:
            found = self._found[0] if len(self._found) == 1 else self._found
            self._shell.push({self._args.out: found})
        if self._failure is not None:
            self._shell.showtraceback((type(self._failure), self._failure, None))
            if result is not None and result.success:
                result.error_in_exec = self._failure
        elif not self._found and getattr(result, "success", True):
            print("The cell has shown no figure, so nothing was described.")  # noqa: T201


def is_plain(picture: object, data: Mapping[str, Any]) -> TypeGuard[Pixels]:
    """Return whether a picture stands in an output by itself, and not in HTML of its own."""
    return isinstance(picture, Pixels) and picture.mime in data and "text/html" not in data


# Of a file

#: A larger file is not read: its text alone takes a gigabyte of memory.
_MAX_BYTES: Final = 256_000_000

#: Longest part of the Markdown above a cell that is sent with its figures.
_ABOVE_CHARS: Final = 600

# Each looks at a character a few times at most: a hostile file would hold up the command for hours.
_ALT: Final = re.compile(r"""<img\b[^<>]*\salt\s*=\s*(?:"\s*[^\s"][^"]*"|'\s*[^\s'][^']*')""")
_CELL_ALT: Final = re.compile(r"(?m)^#\|\s*(?:fig-)?alt\s*:")
_ATTACHED: Final = re.compile(r"!\[(?P<alt>[^\[\]]*)\]\(<?attachment:(?P<name>[^)\s>]+)")

#: What front ends write in place of a text: nothing, or the name of the file.
_NO_TEXT: Final = re.compile(r"(?i)(?:image|\S+\.(?:png|jpe?g|gif|webp|svg|bmp))?")


@dataclass
class Figure:
    """A picture of a notebook's file."""

    #: The number of its cell, from 0 on, and of its output, or its name as an attachment.
    cell: int
    place: int | str
    picture: Pixels | None
    has_words: bool
    #: Why it cannot have any.
    trouble: str = ""
    source: str = ""
    above: str = ""

    @property
    def key(self) -> str:
        """The hash of its picture: one that is there twice is asked about once."""
        data = "".join(str(self.picture and self.picture.data).split())
        return hashlib.sha256(data.encode("utf-8", "replace")).hexdigest()

    def _repr_claude_(self) -> list[Any]:
        above = [f"The Markdown above it:\n{self.above}"] if self.above else []
        return ["\n\n".join(["", *above, *described.background(self.source, {}), ""]), self.picture]


def figures_of(notebook: Any) -> list[Figure]:
    """Find the figures of a notebook, in their order."""
    found: list[Figure] = []
    above = ""
    try:
        if notebook["nbformat"] != 4:
            raise ContentError("It is of another version than 4: save it once in Jupyter.")
        for n, cell in enumerate(notebook["cells"]):
            source = _joined(cell["source"])
            if cell["cell_type"] == "code":
                found += _outputs(n, cell, source, above)
            elif cell["cell_type"] == "markdown":
                above = source.strip()[:_ABOVE_CHARS]
                found += _attachments(n, cell, source, above)
    except (LookupError, TypeError, AttributeError) as error:
        raise ContentError(f"It is no notebook ({type(error).__name__}: {error}).") from None
    return found


def _outputs(n: int, cell: Any, source: str, above: str) -> Iterator[Figure]:
    image = cell["metadata"].get("mystnb", {}).get("image", {})
    is_told = bool(_CELL_ALT.search(source) or image.get("alt"))
    for k, output in enumerate(cell["outputs"]):
        data = {mime: _joined(value) for mime, value in output.get("data", {}).items()}
        picture = picture_in(data, output.get("metadata", {}))
        if picture is None or getattr(picture, "is_page", False):
            continue
        if isinstance(picture, VectorPlot) and isinstance(data.get("image/svg+xml"), str):
            picture = Pixels(data["image/svg+xml"], "image/svg+xml", output["metadata"])
        figure = Figure(n, k, None, is_told or bool(_ALT.search(data.get("text/html", ""))))
        if is_plain(picture, data):
            figure.picture, figure.source, figure.above = picture, source, above
            figure.has_words |= bool(picture.metadata.get(picture.mime, {}).get("alt"))
        else:
            figure.trouble = "no picture of its own: show it as a PNG, or write its alt there."
        yield figure


def _attachments(n: int, cell: Any, source: str, above: str) -> Iterator[Figure]:
    for match in _ATTACHED.finditer(source):
        picture = picture_in(cell.get("attachments", {}).get(match["name"], {}))
        is_told = not _NO_TEXT.fullmatch(match["alt"].strip())
        figure = Figure(n, match["name"], None, is_told, "an attachment that is not there.")
        if isinstance(picture, Pixels):
            figure.picture, figure.trouble, figure.above = picture, "", above
        yield figure


def _joined(value: Any) -> Any:
    """Return a text that a file may hold line by line."""
    is_lines = isinstance(value, list) and all(isinstance(line, str) for line in value)
    return "".join(value) if is_lines else value


def add_words(notebook: Any, told_of: Sequence[tuple[Figure, Description]], how: str) -> None:
    """Write the words of figures into a notebook."""
    alts: dict[int, list[str]] = {}
    for figure, value in told_of:
        cell = notebook["cells"][figure.cell]
        if isinstance(figure.place, str):
            _put_in_markdown(cell, figure.place, value.alt)
        elif how in ("html", "metadata") and figure.picture is not None:
            output = cell["outputs"][figure.place]
            bundle, output["metadata"] = figure_bundle(value, figure.picture)
            if how == "html":
                output["data"]["text/html"] = [bundle["text/html"]]
        else:
            alts.setdefault(figure.cell, []).append(value.alt)
    for n, texts in alts.items():
        cell = notebook["cells"][n]
        if how == "myst":
            mine = cell["metadata"].setdefault("mystnb", {})
            mine.setdefault("image", {})["alt"] = " ".join(texts)
        else:
            alt: Any = texts[0] if len(texts) == 1 else texts
            option = f"#| fig-alt: {json.dumps(alt, ensure_ascii=False)}\n"
            cell["source"] = _like(cell["source"], option + _joined(cell["source"]))


def _put_in_markdown(cell: Any, name: str, alt: str) -> None:
    """Write a text between the brackets of an attachment, where nothing of it is markup."""
    safe = re.sub(r"[^\w\s.,;:()%+/°-]|_", lambda mark: f"&#{ord(mark[0])};", alt)

    def put(match: re.Match[str]) -> str:
        is_it = match["name"] == name and _NO_TEXT.fullmatch(match["alt"].strip())
        return match[0].replace(f"[{match['alt']}]", f"[{safe}]", 1) if is_it else match[0]

    cell["source"] = _like(cell["source"], _ATTACHED.sub(put, _joined(cell["source"])))


def _like(before: Any, text: str) -> Any:
    return text if isinstance(before, str) else text.splitlines(keepends=True)


def writer_of(path: Path, text: str, notebook: Any) -> Callable[[Any], str]:
    """Return what writes a notebook as its file is written: its indent, order and line ends."""
    indented = re.match(r"\s*\{\r?\n([ \t]+)", text)
    indent = indented and indented[1]
    line_end, end = "\r\n" if "\r\n" in text else "\n", text[len(text.rstrip()) :]

    def write(in_order: bool, value: Any) -> str:
        written = json.dumps(value, indent=indent, ensure_ascii=False, sort_keys=in_order)
        return written.replace("\n", line_end) + end

    for in_order in (True, False):  # of the alphabet: new keys stand in it then
        if write(in_order, notebook) == text:
            return functools.partial(write, in_order)
    raise ContentError(
        "It is not written as notebooks are: more of it would change than its figures. "
        f"`jupyter nbconvert --to notebook --inplace {path}` writes it so; then run it again."
    )


def run(args: Namespace) -> int:
    """Describe the figures of a file as the command line says, and return the exit code."""
    try:
        return describe_file(args)
    except Interrupted:
        sys.stderr.write("Stopped. What was answered is kept: run it again to go on.\n")
        return 130
    except SegmindError as error:
        sys.stderr.write(f"{args.notebook}: {one_line(str(error))}\n")
        return 2


def describe_file(args: Namespace) -> int:
    """Do what the command line says; whatever is wrong with all of the file is raised."""
    languages = checked_languages(args.language)
    text, notebook = _read(args.notebook)
    figures = figures_of(notebook)
    missing = [figure for figure in figures if not figure.has_words]
    if args.check:
        said = f"{len(figures) - len(missing)} of {len(figures)} figures have words."
        return _report(args.notebook, said, missing)
    write = writer_of(args.notebook, text, notebook)
    if args.budget is not None:
        session().budget.own_limit = amount_of(str(args.budget), name="--budget")
    to = args.out or args.notebook
    if to.is_dir() or not os.access(Path(os.path.realpath(to)).parent, os.W_OK):
        raise ContentError(f"{to} cannot be written, so nothing was asked.")
    asked = {figure.key: figure for figure in missing if figure.picture is not None}
    words: dict[str, Description] = {}
    if asked:
        prompt, items = described.task(languages), list(asked.values())
        how = {"json": described.shape_of(languages), "model": args.model, "retry_misfits": 1}
        batch: Any = ask_each(prompt, items, dry_run=args.dry_run, **how)
        outcomes = [] if args.dry_run else batch.wait().outcomes
        for (key, figure), outcome in zip(asked.items(), outcomes, strict=not args.dry_run):
            try:
                if outcome.error is not None:
                    raise outcome.error
                # Without what it took, so that the file is the same whenever it is written.
                words[key] = dataclasses.replace(told(outcome.reply, languages), reply=None)
            except SegmindError as error:
                figure.trouble = one_line(str(error))
                if not isinstance(error, ContentError | ReplyError) and not batch.progress.done:
                    raise  # it is none of this figure's: a key, a budget
        sys.stdout.write(f"{to_text(str(batch))}\n")
    if args.dry_run:
        left = [figure for figure in missing if figure.trouble]
        _report(args.notebook, f"{len(asked)} figures would be asked about.", left)
        return 0
    done = [(figure, words[figure.key]) for figure in missing if figure.key in words]
    if done or args.out:
        if _read(args.notebook)[0] != text:
            raise ContentError(
                "It was saved elsewhere meanwhile, and was left as it is. Run it again: what was "
                "answered is kept."
            )
        add_words(notebook, done, args.format)
        _write(to, write(notebook), like=args.notebook)
    left = [figure for figure in missing if figure.key not in words]
    return _report(to, f"{len(done)} figures were described.", left)


def _report(path: Path, said: str, left: Sequence[Figure]) -> int:
    """Say what was done, and what has no words."""
    lines = [f"  cell {each.cell + 1}: {each.trouble or 'a figure without words'}" for each in left]
    sys.stdout.write("\n".join([f"{path}: {said}", *lines, ""]))
    return 1 if left else 0


def _read(path: Path) -> tuple[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES or not path.is_file():
            raise ContentError("It is no file, or larger than 256 MB: clear what is large in it.")
        text = path.read_bytes().decode("utf-8")
        return text, json.loads(text)
    except OSError as error:
        raise ContentError(f"It cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise ContentError(f"It is no notebook: its JSON is broken ({error}).") from None


def _write(path: Path, text: str, *, like: Path) -> None:
    """Write a file whole or not at all, with the rights of the one that was read."""
    path = Path(os.path.realpath(path))
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(text.encode("utf-8"))
        shutil.copymode(path if path.exists() else like, file.name)
        os.replace(file.name, path)
    except OSError as error:
        raise ContentError(f"{path} cannot be written ({error.strerror}).") from None
