"""The question that stands between a click on Clear and the loss of all that was said.

It is asked elsewhere than at the button, so that a double click forgets nothing. Imported with the
first chat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ipywidgets import HTML, Button, Layout, VBox

from segmind_jupyter.notebook.transcript import about_html

_ABOUT: Final = (
    "All that was said is forgotten, also in the saved notebook. Files that Save wrote stay, and "
    "the usage goes on to count."
)


class ClearPanel:
    """A line that says what is lost, and the button that does it.

    Parameters
    ----------
    forget
        Callback of the button.

    Attributes
    ----------
    box
        All of it, as one widget.
    """

    def __init__(self, forget: Callable[..., None]) -> None:
        self._button = Button(
            icon="trash",
            button_style="danger",
            tooltip="There is no way back",
            layout=Layout(width="auto", margin="2px 4px 2px 2px", align_self="flex-start"),
        )
        self._button.on_click(forget)
        about = HTML(about_html(_ABOUT), layout=Layout(margin="0 2px", width="auto"))
        self.box = VBox([about, self._button], layout=Layout(overflow="visible"))

    def refresh(self, count: int) -> None:
        """Say how many turns it is about."""
        self._button.description = f"Forget {count:,} turn{'s' * (count != 1)}"
