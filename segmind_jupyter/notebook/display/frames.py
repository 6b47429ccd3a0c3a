"""Frames that hold words of a reply, wherever they were put together: a page fetches nothing.

Front ends typeset the HTML of pandas and polars, and TeX can style what it shows, with addresses.
"""

from __future__ import annotations

import re
from typing import Any, Final

#: The frames by where they are at home; pandas 3 has another place than those before it.
_KINDS: Final = (
    "pandas.DataFrame",
    "pandas.core.frame.DataFrame",
    "pandas.io.formats.style.Styler",
    "polars.dataframe.frame.DataFrame",
    "polars.series.series.Series",
    "polars.lazyframe.frame.LazyFrame",
    "polars.expr.expr.Expr",
)

#: What of MathJax's TeX makes an element with a style, an address, a class or a name, or loads
#: more of it; `\newcommand` and `\let` still name these.
_REACHES_OUT: Final = re.compile(
    r"\\(?:unicode|style|href|class|cssId|data|bbox|fcolorbox|enclose|mmlToken|require|texttip|mathtip|toggle"
    r"|includegraphics)(?![A-Za-z])"
)


class FrameShields:
    """Shows frames as they show themselves, and keeps from MathJax those whose TeX reaches out."""

    def __init__(self, shell: Any) -> None:
        self._formatter = shell.display_formatter.formatters["text/html"]

    def install(self) -> None:
        """Take over what nobody else has taken over."""
        for kind in _KINDS:
            if kind not in self._formatter:
                self._formatter.for_type_by_name(*kind.rsplit(".", 1), _html)

    def remove(self) -> None:
        """Let them show themselves again."""
        for kind in _KINDS:
            shows = self._formatter.pop(kind, None)
            if shows not in (None, _html):  # somebody else's by now
                self._formatter.for_type_by_name(*kind.rsplit(".", 1), shows)


def _html(frame: Any) -> str | None:
    from segmind_jupyter.batch.frame import shielded

    html: str | None = frame._repr_html_()
    return shielded(html) if html and _REACHES_OUT.search(html) else html
