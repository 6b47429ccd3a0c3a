"""Keeps what a page sends in the order in which the user did it: first the words, then the click.

ipykernel 7.4 hands a message for a widget to the subshell from which that widget spoke last. A box
echoes what is typed, a button says nothing: their messages then go to different threads, and a
click on Send is handled before the words that were typed (seen in 1 of 7 messages that a program
typed in JupyterLab 4.6). So all of them speak whenever one does. On ipykernel 6, and on 7.1 to 7.3,
where there is one thread for them, this changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def keep_in_order(boxes: Sequence[Any], button: Any) -> None:
    """Have changes of these boxes handled before the click on the button that follows them.

    Parameters
    ----------
    boxes
        Widgets with a value, such as a `Textarea`.
    button
        What is pressed after they changed. Nothing else may change it, nor them.
    """

    def speak(_: Any) -> None:
        for widget in (*boxes, button):
            widget.send_state("disabled")  # it has not changed, so the page does nothing

    for box in boxes:
        box.observe(speak, "value")
