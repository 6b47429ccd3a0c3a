"""Tells when a page was reloaded: from then on it does not hear what is replaced in its outputs.

A page that was opened anew asks the kernel for the state of every widget (seen in JupyterLab), so
these live on; but it has lost the names of the outputs, and saves them as they were.
"""

from __future__ import annotations

import os
from typing import Any, Final

from ipywidgets import HTML, Layout

from segmind_jupyter.notebook.markdown import framed
from segmind_jupyter.notebook.palette import FRAME
from segmind_jupyter.notebook.wording import one_line_html

_NOTICE: Final = (
    "This page was reloaded: new turns do not reach the saved notebook. Run `chat` in a cell again "
    "before you save, or press Save."
)


class ReloadNotice(HTML):
    """Says that the page was reloaded, from then on until it is told that the chat is shown anew.

    Parameters
    ----------
    shell
        The shell that the page asks.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        super().__init__(layout=Layout(margin="0", width="auto"))

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> Any:
        """Give what a page is told. All of it at once goes to a page that knew nothing."""
        is_open = self.comm is not None
        if key is None and is_open and self._is_asked_by_a_page and not _is_voila():
            self.value = framed(f'<div style="{FRAME["cut"]}">{one_line_html(_NOTICE)}</div>')
        return super().get_state(key=key, drop_defaults=drop_defaults)

    def take_back(self) -> None:
        """Say nothing: the page has an output that hears again."""
        self.value = ""

    @property
    def _is_asked_by_a_page(self) -> bool:
        """Tell whether it is no cell of the user's that asks, such as one that embeds widgets."""
        parent = getattr(self._shell, "parent_header", None) or {}
        return bool(parent.get("header", {}).get("msg_type") == "comm_msg")


def _is_voila() -> bool:
    """Tell whether Voila shows the page: it asks for all state at once, and saves no notebook."""
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
