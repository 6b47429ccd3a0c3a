"""`%segmind usage`: what the calls of this kernel took, as sums, as a small chart and as a table.

Nothing here is live: what is shown stays as it was.
"""

from __future__ import annotations

import datetime
import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.api.usage import Call, Ledger, Totals
from segmind_jupyter.notebook.columns import aligned
from segmind_jupyter.notebook.palette import ELEMENTS, FRAME
from segmind_jupyter.notebook.wording import one_line, one_line_html

if TYPE_CHECKING:
    import pandas

#: The newest calls, which are drawn.
_DRAWN: Final = 40

_BAR_PX: Final = 44
_BLOCKS: Final = "▁▂▃▄▅▆▇█"

_HEAD: Final = ("model", "calls", "tokens in", "tokens out", "credits")
_NONE: Final = "No answered calls yet in this kernel."
_TABLE: Final = "`calls = %segmind usage` gives the calls as a table."

#: What the table holds of a call; each of these types has a place for what is missing.
_COLUMNS: Final = {
    "when": "datetime64[ns]",
    "model": "string",
    "tokens_in": "Int64",
    "tokens_out": "Int64",
    "cost": "float64",
    "seconds": "float64",
    "simulated": "bool",
}


@dataclass(frozen=True, slots=True)
class _Series:
    """One number of each call, as a row of bars. `None` is what the server did not say."""

    name: str
    style: str
    numbers: Sequence[int | None]

    @property
    def most(self) -> int:
        return max((number for number in self.numbers if number is not None), default=0)


def usage(ledger: Ledger) -> dict[str, str]:
    """Give the sums by model and the chart of the newest calls, as HTML and as text.

    Parameters
    ----------
    ledger
        The calls.
    """
    rows, chart, notes = _rows(ledger), _chart(ledger.calls), _notes(ledger)
    return {"text/html": _html(rows, chart, notes), "text/plain": _text(rows, chart, notes)}


class Rows(list[dict[str, Any]]):
    """A row a call, where pandas is not there. Unlike a list, it can say how it shows."""


def table(calls: Sequence[Call]) -> pandas.DataFrame | Rows:
    """Give the calls as a table, oldest first.

    Returns
    -------
    pandas.DataFrame or Rows
        ``when`` (local time), ``model``, ``tokens_in``, ``tokens_out``, ``cost`` (in Segmind
        credits), ``seconds`` and ``simulated``, missing where the server did not say. A list of
        such rows where pandas is not installed.
    """
    rows = Rows(map(_row, calls))
    try:
        import pandas
    except ModuleNotFoundError:
        return rows
    return pandas.DataFrame(rows, columns=[*_COLUMNS]).astype(_COLUMNS)


def _row(call: Call) -> dict[str, Any]:
    when = datetime.datetime.fromtimestamp(round(call.answered_at))
    values = (
        when, call.model, call.input_tokens, call.output_tokens, call.cost, call.seconds,
        call.simulated,
    )  # fmt: skip
    return dict(zip(_COLUMNS, values, strict=True))


def shown_already(value: Any, shell: Any) -> None:
    """Let a table not be shown by the cell in which the chart was; a later one shows it as ever.

    Parameters
    ----------
    value
        The table. It is given the hook by which IPython asks a value to show itself.
    shell
        The shell whose cell runs.
    """
    value._ipython_display_ = _silent_in_cell(shell, shell.execution_count)


def _silent_in_cell(shell: Any, count: int) -> Callable[[], None]:
    def show() -> None:
        if shell.execution_count != count:
            raise NotImplementedError  # IPython then asks the other formatters

    return show


def _rows(ledger: Ledger) -> list[tuple[str, ...]]:
    models = ledger.by_model()
    rows = [_sums(one_line(name), sums) for name, sums in models.items()]
    return rows if len(models) < 2 else [*rows, _sums("all", ledger.total())]


def _sums(name: str, sums: Totals) -> tuple[str, ...]:
    cost = "not told" if sums.cost is None else f"{sums.cost:.4f}"
    return (name, f"{sums.calls:,}", f"{sums.input_tokens:,}", f"{sums.output_tokens:,}", cost)


def _chart(calls: Sequence[Call]) -> list[_Series]:
    """Draw the newest calls; two are the least that can be compared."""
    drawn = calls[-_DRAWN:] if len(calls) > 1 else ()
    series = (
        _Series("tokens in", "bar in", [call.input_tokens for call in drawn]),
        _Series("tokens out", "bar out", [call.output_tokens for call in drawn]),
    )
    return [each for each in series if each.most]


def _notes(ledger: Ledger) -> list[str]:
    count, unknown = len(ledger.calls), ledger.unknown
    which = f"The last {_DRAWN} calls are drawn" if count > _DRAWN else "A bar is a call"
    notes = [f"{which}, the newest last. {_TABLE}"] if count > 1 else []
    if unknown:
        calls = "1 call" if unknown == 1 else f"{unknown} calls"
        notes.append(f"{calls} with an unknown outcome, which may have been billed too.")
    return notes


def _text(rows: list[tuple[str, ...]], chart: list[_Series], notes: list[str]) -> str:
    sums = aligned([_HEAD, *rows], right=True) if rows else _NONE
    bars = [(each.name, _bars(each), f"at most {each.most:,}") for each in chart]
    return "\n".join([sums, *([aligned(bars)] if bars else []), *notes])


def _bars(series: _Series) -> str:
    return "".join(
        "·" if number is None else _BLOCKS[max(_height(number, series.most, len(_BLOCKS)) - 1, 0)]
        for number in series.numbers
    )


def _height(number: int, most: int, highest: int) -> int:
    """Scale a number; what is more than nothing stands out from it."""
    return math.ceil(number / most * highest)


def _html(rows: list[tuple[str, ...]], chart: list[_Series], notes: list[str]) -> str:
    sums = _sums_html(rows) if rows else f"<div>{_NONE}</div>"
    bars = "".join(_series_html(each) for each in chart)
    below = "".join(f'<div style="{FRAME["about"]}">{one_line_html(note)}</div>' for note in notes)
    inside = sums + (f'<div style="{FRAME["row"]}">{bars}</div>' if bars else "") + below
    return f'<div class="mathjax_ignore" style="{FRAME["reply"]}">{inside}</div>'


def _sums_html(rows: list[tuple[str, ...]]) -> str:
    lines = [_line_html("th", _HEAD), *(_line_html("td", row) for row in rows)]
    return f'<table style="{ELEMENTS["table"]}">{"".join(lines)}</table>'


def _line_html(tag: str, cells: Sequence[str]) -> str:
    first, *others = (html.escape(cell) for cell in cells)
    right = "".join(f'<{tag} style="{ELEMENTS[f"{tag} right"]}">{cell}</{tag}>' for cell in others)
    return (
        f'<tr style="{ELEMENTS["tr"]}"><{tag} style="{ELEMENTS[tag]}">{first}</{tag}>{right}</tr>'
    )


def _series_html(series: _Series) -> str:
    bars = "".join(_bar_html(series, number) for number in series.numbers)
    title = f"{series.name}, at most {series.most:,}"
    return (
        f'<div><div style="{FRAME["about"]}">{title}</div>'
        f'<div style="{FRAME["bars"]}">{bars}</div></div>'
    )


def _bar_html(series: _Series, number: int | None) -> str:
    if number is None:
        return f'<div style="{FRAME["bar untold"]}" title="not told"></div>'
    height_px = _height(number, series.most, _BAR_PX)
    return f'<div style="{FRAME[series.style]};height:{height_px}px" title="{number:,}"></div>'
