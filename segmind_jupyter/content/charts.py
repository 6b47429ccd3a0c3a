"""Charts of plotly, altair, bokeh and HoloViews: which objects are such, and who draws each.

Maps that are pages, such as folium's, are recognised too, so that they are refused with the way
to their pixels rather than sent as a bare name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from segmind_jupyter.content.altair_charts import encode_altair
from segmind_jupyter.content.bokeh_plots import encode_bokeh
from segmind_jupyter.content.figures import encode_figure
from segmind_jupyter.content.kinds import type_name
from segmind_jupyter.content.parts import STANDARD, Image, Limits
from segmind_jupyter.content.plotly_figures import encode_plotly
from segmind_jupyter.content.renderers import naming_failures
from segmind_jupyter.errors import ContentError

_Encode = Callable[..., Image]


def is_chart(obj: object) -> bool:
    """Tell whether `obj` is a chart of one of the libraries that are known here."""
    return _encoder(obj) is not None


def encode_chart(chart: Any, *, limits: Limits = STANDARD) -> Image:
    """Draw a chart with its own library's renderer, and encode the picture.

    Parameters
    ----------
    chart
        Anything for which `is_chart` is true.
    limits
        How large the image may become.

    Raises
    ------
    ContentError
        The renderer is missing, the chart cannot be drawn, or it would be drawn from what lies in
        the network. The message says what to do; there is no form in text instead.
    """
    encode = _encoder(chart)
    if encode is None:
        raise ContentError(f"A {type_name(chart)} is no chart. Name the chart itself.")
    return encode(chart, limits=limits)


def _encoder(obj: object) -> _Encode | None:
    """Find who draws an object, by the classes in its ancestry."""
    names = ((str(kind.__module__).partition(".")[0], kind.__name__) for kind in type(obj).__mro__)
    return next((_ENCODERS[name] for name in names if name in _ENCODERS), None)


def _encode_holoviews(obj: Any, *, limits: Limits) -> Image:
    """Let HoloViews make the figure of the backend that it shows, and draw that."""
    about = f"HoloViews {type_name(obj)}"
    with naming_failures(about):
        figure = sys.modules["holoviews"].render(obj)
    encode = encode_plotly if isinstance(figure, dict) else _encoder(figure) or encode_figure
    return encode(figure, limits=limits, about=about)


def _refuse_page(obj: Any, *, limits: Limits) -> Image:
    package = type(obj).__module__.partition(".")[0]
    raise ContentError(
        f"{package} {type_name(obj)}: it is a page, for which a browser fetches map tiles, and "
        "nothing is fetched here. Take a screenshot and name the file, or name the data itself."
    )


#: Who draws a chart, by the package and the name of a class in its ancestry.
_ENCODERS: dict[tuple[str, str], _Encode] = {
    ("plotly", "BaseFigure"): encode_plotly,
    ("altair", "TopLevelMixin"): encode_altair,
    ("altair", "JupyterChart"): encode_altair,
    ("bokeh", "UIElement"): encode_bokeh,
    ("bokeh", "LayoutDOM"): encode_bokeh,  # in bokeh 2
    ("holoviews", "Dimensioned"): _encode_holoviews,
    ("folium", "Map"): _refuse_page,
    ("ipyleaflet", "Map"): _refuse_page,
    ("pydeck", "Deck"): _refuse_page,
}
