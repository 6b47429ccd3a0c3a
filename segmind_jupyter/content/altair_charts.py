"""Altair charts of every form become pictures, drawn by vl-convert.

Nothing is fetched: a chart whose data or images are links is refused.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from segmind_jupyter.content.images import image_from_bytes
from segmind_jupyter.content.kinds import is_kind, type_name
from segmind_jupyter.content.parts import STANDARD, Image, Limits
from segmind_jupyter.content.renderers import drawing_scale, naming_failures, renderer
from segmind_jupyter.errors import ContentError, shortened

#: The size of the drawing, in the first tag of the SVG that vl-convert writes.
_SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)" height="([\d.]+)"')

#: An image that is a link. Vega leaves those in the SVG, and the step to pixels would fetch them.
_LINKED_IMAGE = re.compile(r'<image [^>]*?href="(?!data:)([^"]*)"')

#: Where a chart keeps rows, which may hold any words.
_ROWS = frozenset({"datasets", "values"})


def encode_altair(chart: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Draw an altair chart and encode the picture.

    The chart may hold more rows than altair allows in a notebook, as none of them are sent. The
    theme that is enabled applies; a small chart is drawn at twice its size.

    Parameters
    ----------
    chart
        A chart of altair 5 or later: single, layered, concatenated, repeated, faceted, or in a
        ``JupyterChart``.
    limits
        How large the image may become.
    about
        What it was made from, for the footer; by default its type, ``"altair LayerChart"``.

    Raises
    ------
    ContentError
        vl-convert is missing or too old, the chart cannot be drawn, or what it shows is a link.
    """
    if is_kind(chart, "altair", "JupyterChart"):
        chart = chart.chart
    about = about or f"altair {type_name(chart)}"
    with naming_failures(about):
        spec = _inlined(chart)
        _refuse_link(next(_data_links(spec), None), about)
        vl_convert = renderer("vl_convert", what=about, install="-U vl-convert-python")
        svg = _svg(vl_convert, spec, about)
        _refuse_link(next(iter(_LINKED_IMAGE.findall(svg)), None), about)
        data = vl_convert.svg_to_png(svg, scale=_scale(svg, limits))
    return image_from_bytes(data, limits=limits, about=about)


def _inlined(chart: Any) -> dict[str, Any]:
    """Give the specification with its data inside, whatever transformer the user has enabled."""
    transformers = sys.modules["altair"].data_transformers
    with transformers.enable("default"), transformers.disable_max_rows():
        spec: dict[str, Any] = chart.to_dict()
    return spec


def _data_links(spec: Any) -> Iterator[str]:
    """Find where any part of a chart names its data by a link."""
    if isinstance(spec, list):
        for part in spec:
            yield from _data_links(part)
    elif isinstance(spec, Mapping):
        data = spec.get("data")
        if isinstance(data, Mapping) and isinstance(data.get("url"), str):
            yield data["url"]
        for key, part in spec.items():
            if key not in _ROWS:
                yield from _data_links(part)


def _refuse_link(link: str | None, about: str) -> None:
    if link is not None:
        raise ContentError(
            f"{about}: to draw it would fetch {shortened(link)}, and nothing is fetched here. Load "
            "that first and make the chart of it, or save the chart as a PNG and name the file."
        )


def _svg(vl_convert: Any, spec: dict[str, Any], about: str) -> str:
    """Compile a chart with the Vega-Lite that this altair writes for."""
    major, minor = sys.modules["altair"].SCHEMA_VERSION.lstrip("v").split(".")[:2]
    try:
        svg: str = vl_convert.vegalite_to_svg(
            spec, vl_version=f"v{major}_{minor}", allowed_base_urls=[]
        )
    except (RuntimeError, TypeError) as error:  # what is wrong with a chart is a ValueError
        reason = shortened(str(error).partition("\n")[0])  # a stack trace follows
        raise ContentError(
            f"{about}: vl-convert does not draw with Vega-Lite {major}.{minor} ({reason}). "
            "Run `%pip install -U vl-convert-python` and restart the kernel."
        ) from error
    return svg


def _scale(svg: str, limits: Limits) -> float:
    size = _SIZE.match(svg)
    return drawing_scale(float(size[1]), float(size[2]), limits=limits) if size else 1.0
