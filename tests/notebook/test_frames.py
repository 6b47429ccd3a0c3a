"""Frames of a user's own that hold words of a reply, in a real shell."""

from __future__ import annotations

from importlib.util import find_spec

import pandas as pd
import pytest

#: What MathJax would fetch, with no click.
FETCHES = r"$\unicode[x;background:url(//e.test/S)]{65}$"

SHIELD = '<div class="mathjax_ignore tex2jax_ignore">'


@pytest.fixture
def shown(run, shell):
    """The HTML by which a shell shows the value of an expression."""

    def show(code: str) -> str:
        value = run(code).result
        data, _ = shell.display_formatter.format(value)
        return data["text/html"]

    run("import pandas as pd")
    run(f"words = {FETCHES!r}")
    return show


def test_words_that_reach_out_are_kept_from_the_page(shown):
    """Whichever frame they are in, and however it came about."""
    codes = [
        "pd.DataFrame({'reply': [words]})",
        "pd.DataFrame({'x': [r'$\\bbox[background:url(//e.test/S)]{x}$']})",
        "pd.DataFrame({'reply': [words]}).style",
        r"pd.DataFrame({'x': [r'$\fcolorbox{red;background:url(//e.test)}{white}{x}$']})",
    ]
    if find_spec("polars"):
        codes += [f"__import__('polars').{of}" for of in ("DataFrame([words])", "lit(words)")]
    for code in codes:
        page = shown(code)
        assert page.startswith(SHIELD), code
        assert "url(//e" in page


def test_other_frames_show_as_they_do(shown):
    """Their formulas are typeset as before."""
    for code in ("pd.DataFrame({'x': ['$x^2$']})", "pd.DataFrame({'x': [r'$\\unicodes$']})"):
        page = shown(code)
        assert page == eval(code, {"pd": pd})._repr_html_()


def test_what_a_user_has_registered_stays(shell, run, shown):
    """Before it is loaded and after it is unloaded."""
    formatter = shell.display_formatter.formatters["text/html"]
    run("%unload_ext segmind_jupyter")
    assert not shown("pd.DataFrame({'reply': [words]})").startswith(SHIELD)
    formatter.for_type(pd.DataFrame, lambda frame: "<b>mine</b>")
    try:
        run("%load_ext segmind_jupyter")
        assert shown("pd.DataFrame({'reply': [words]})") == "<b>mine</b>"
        run("%unload_ext segmind_jupyter")
        assert shown("pd.DataFrame({'reply': [words]})") == "<b>mine</b>"
    finally:
        formatter.pop(pd.DataFrame, None)
