"""What the plotting libraries that draw through another package have in common.

The renderer may be missing, the chart may be broken, and a small chart is drawn larger. Knows no
library.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from segmind_jupyter.content.kinds import spelled
from segmind_jupyter.content.parts import Limits
from segmind_jupyter.content.sizing import fitted_size
from segmind_jupyter.errors import ContentError

#: A chart is drawn at twice its size where that costs no more than so many tokens: labels of 10
#: pixels read better, and a plot of 700x500 stays at its 450 tokens.
_DOUBLED_TOKENS = 800


def renderer(module: str, *, what: str, install: str) -> ModuleType:
    """Import the package that draws for a plotting library.

    Parameters
    ----------
    module
        Its name in Python.
    what
        The chart, for the error.
    install
        What ``pip install`` takes.

    Raises
    ------
    ContentError
        It is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ContentError(
            f"{what}: to draw it takes {module}, which cannot be imported ({spelled(error)}). "
            f"Run `%pip install {install}`, then this again."
        ) from error


@contextmanager
def naming_failures(what: str) -> Iterator[None]:
    """Say which chart it was when its own library cannot draw it.

    Raises
    ------
    ContentError
        In place of whatever the library raises.
    """
    try:
        yield
    except ContentError:
        raise
    except Exception as error:
        raise ContentError(
            f"{what} could not be drawn ({spelled(error)}). Correct the chart if that names a "
            "fault of it, or save it as a PNG yourself and name the file."
        ) from error


def drawing_scale(width_px: float, height_px: float, *, limits: Limits) -> float:
    """Give the scale at which a chart is drawn, so that nothing is resampled afterwards.

    Parameters
    ----------
    width_px, height_px
        The chart's own size, in pixels.
    limits
        How large the picture may become.

    Returns
    -------
    float
        2 for a small chart, 1 for others; less where the limits ask for it.
    """
    doubled = max(1, round(2 * width_px)), max(1, round(2 * height_px))
    if doubled == _fitted(doubled, limits, min(_DOUBLED_TOKENS, limits.image_tokens)):
        return 2.0
    own = max(1, round(width_px)), max(1, round(height_px))
    fitted = _fitted(own, limits, limits.image_tokens)
    # Renderers round or cut fractions of a pixel: aim below the last whole one.
    return 1.0 if fitted == own else (max(fitted) - 0.5) / max(own)


def _fitted(size: tuple[int, int], limits: Limits, budget_tokens: int) -> tuple[int, int]:
    return fitted_size(*size, edge_px=limits.image_edge_px, budget_tokens=budget_tokens)
