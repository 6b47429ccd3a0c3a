"""What plain widgets cannot be told in Python, as a style sheet that the widget of a chat carries.

Where it does not apply, a chat looks a little worse and works as well.
"""

from __future__ import annotations

from typing import Final

#: The name of the button for files. The page writes how many it holds behind it, which is always
#: none: they are taken out at once. So the page's words have no size, and these stand for them.
FILES: Final = "File…"

#: Replies and bubbles are as wide as the box that they are in, so that they end where it ends.
_RULES: Final = (
    (" .segmind-reply", "max-width:none!important"),
    (" .widget-upload", "font-size:0"),
    (" .widget-upload i", "font-size:var(--jp-widgets-font-size,13px)"),
    (
        " .widget-upload::after",
        f'content:"{FILES}";font-size:var(--jp-widgets-font-size,13px)',
    ),
)


def look_of(css_class: str) -> str:
    """Give the style sheet, as HTML, for a widget of this class."""
    rules = "".join(f".{css_class}{place}{{{style}}}" for place, style in _RULES)
    return f"<style>{rules}</style>"
