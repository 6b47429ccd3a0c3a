"""`--alt`: figures are shown once, with their words: as HTML, with the picture and its metadata.

The HTML is built of escaped words and of base64 alone, and looks as the plain output does.
"""

from __future__ import annotations

import base64
import html
import re
import sys
import uuid
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard

from segmind_jupyter.content.images.figures import figure_of
from segmind_jupyter.described import Description, asked, checked_languages, facts_of, told
from segmind_jupyter.errors import ContentError, Interrupted
from segmind_jupyter.notebook.display.reply import Display, provenance, usage_line
from segmind_jupyter.notebook.display.styles import FRAME, div, folded
from segmind_jupyter.notebook.plots.formats import Pixels, picture_in
from segmind_jupyter.notebook.plots.last_plot import LastPlots, replaced
from segmind_jupyter.session import session
from segmind_jupyter.words import one_line

#: What base64 is written in, with the lines that notebooks break it into.
_BASE64: Final = re.compile(r"[A-Za-z0-9+/=\s]+")

#: What a transparent figure needs behind it, as JupyterLab has it in its other theme.
_GROUNDS: Final = {"light": "#fff", "dark": "#111"}


def figure_bundle(value: Description, picture: Pixels) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the data and the metadata of an output: the picture once, with its words."""
    data = picture.data
    if isinstance(data, str) and picture.mime == "image/svg+xml":
        data = data.encode("utf-8", "replace")
    coded = data if isinstance(data, str) else base64.b64encode(data).decode("ascii")
    if not _BASE64.fullmatch(coded):
        raise ContentError("The picture is no base64, and cannot be shown.")
    about: Mapping[str, Any] = picture.metadata.get(picture.mime) or {}
    facts = [f'src="data:{picture.mime};base64,{"".join(coded.split())}"']
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
        f'<figure class="mathjax_ignore tex2jax_ignore" style="{FRAME["figure"]}" '
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


class DescriptionDisplay(Display[Description]):
    """How a `Description` shows: as its figure, once, with its words."""

    def show_itself(self, value: Description) -> None:
        """Show it where the cell waited for it, or below; in one cell once."""
        if self._waits is None or self._live is None or self._waits.has_shown(value):
            return
        bundle, metadata = figure_bundle(value, self._picture(value.figure))
        place = self._live.take()
        if place is not None:
            self._live.replace(place, bundle, metadata)
        else:
            name = {"display_id": f"segmind-{uuid.uuid4().hex}"}
            self._shell.display_pub.publish(data=bundle, metadata=metadata, transient=name)

    def text(self, value: Description) -> str:
        return str(value)

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
        data = facts_of(picture.figure())
        if self._words is not None:
            about = picture.metadata.get(picture.mime) or {}
            long = str(about.get("long", ""))  # what was asked for before stays
            return Description(self._words, long, data, self._languages[0], figure=picture)
        names = ("system", "max_tokens", "temperature", "timeout", "cache")
        how = {name: getattr(self._args, name) for name in names}
        how |= {"model": next(iter(self._args.model), None), **dict(self._args.param)}
        dry = bool(self._args.dry_run)
        reply = asked(picture, self._languages, self._source, data, how, dry=dry)
        return reply if dry else told(reply, self._languages, data=data, figure=picture)

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
