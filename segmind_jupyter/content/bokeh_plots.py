"""Bokeh plots and layouts become pictures, by bokeh's own export: a browser that selenium drives.

Bokeh draws nowhere but in a page, so there is no other way to its pixels.
"""

from __future__ import annotations

import importlib
from typing import Any

from segmind_jupyter.content.images import encode_image
from segmind_jupyter.content.kinds import is_kind, spelled, type_name
from segmind_jupyter.content.parts import STANDARD, Image, Limits
from segmind_jupyter.content.renderers import renderer
from segmind_jupyter.errors import ContentError

#: The models for which the page fetches pictures, by the name of one of their classes.
_REMOTE = ("TileSource", "ImageURL")


def encode_bokeh(plot: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Let bokeh export a plot, and encode the picture.

    Bokeh keeps the browser that it starts for further plots, and ends it with the kernel.

    Parameters
    ----------
    plot
        A figure, a layout or another model that shows something.
    limits
        How large the image may become.
    about
        What it was made from, for the footer; by default its type, ``"bokeh GridPlot"``.

    Raises
    ------
    ContentError
        selenium, a browser or its driver is missing, the plot cannot be drawn, or its page would
        fetch map tiles or images.
    """
    about = about or f"bokeh {type_name(plot)}"
    _refuse_network(plot, about)
    renderer("selenium", what=about, install="selenium")
    try:
        picture = importlib.import_module("bokeh.io.export").get_screenshot_as_png(plot)
    except Exception as error:
        raise ContentError(
            f"{about} could not be drawn ({spelled(error)}). Bokeh draws with chromedriver and "
            "Chrome or with geckodriver and Firefox, all on the PATH (as root also "
            "`%env BOKEH_IN_DOCKER=1`); or save it with the disk in its toolbar, and name the file."
        ) from error
    return encode_image(picture, limits=limits, about=about)


def _refuse_network(plot: Any, about: str) -> None:
    remote = sorted(
        {type_name(model) for model in plot.references() if is_kind(model, "bokeh", *_REMOTE)}
    )
    if remote:
        raise ContentError(
            f"{about}: to draw it would fetch {remote[0]} pictures from the network, and nothing "
            "is fetched here. Save it with the disk in its toolbar, and name the file."
        )
