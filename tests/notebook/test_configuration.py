"""Settings that stand in a configuration file or on a command line before the extension loads."""

from __future__ import annotations

import pytest
from traitlets.config import Config

from segmind_jupyter.session import _only_session, session


@pytest.fixture
def configured(bare_shell):
    """Load the extension with these settings, and give the magics."""

    def load(**settings):
        bare_shell.config["ClaudeMagics"] = Config(settings)
        bare_shell.run_line_magic("load_ext", "segmind_jupyter")
        return bare_shell.magics_manager.registry["ClaudeMagics"]

    yield load
    bare_shell.run_line_magic("unload_ext", "segmind_jupyter")
    bare_shell.config.pop("ClaudeMagics", None)
    session().close()
    _only_session.cache_clear()


@pytest.mark.parametrize("journal", [False, True])
def test_a_setting_that_is_refused_costs_only_itself(configured, journal):
    """The others hold, above all those that keep something from being sent or written."""
    with pytest.warns(UserWarning, match=r"max_tokens.*So ClaudeMagics.max_tokens is None"):
        magics = configured(max_tokens=0, cache="only", journal=journal, model="claude-3-opus")
    assert session().options.cache == "only"
    assert session().options.model == "claude-3-opus"
    assert (session().journal.path is not None) is journal
    assert magics.max_tokens is None


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [("cache", "onyl", "only"), ("cache", True, "only"), ("journal", "no", False)],
)
def test_a_mistyped_guard_guards_all_the_same(configured, name, value, kept):
    """Nothing is sent, or written, that its writer may have meant to prevent."""
    with pytest.warns(UserWarning, match=f"So ClaudeMagics.{name} is {kept!r}"):
        magics = configured(**{name: value})
    assert getattr(magics, name) == kept


@pytest.mark.kernel
def test_settings_of_a_command_line_are_kept_beside_a_refused_one(start):
    """As nbconvert passes them on to the kernel."""
    kernel = start("--ClaudeMagics.max_tokens=0", "--ClaudeMagics.cache=only")
    assert "So ClaudeMagics.max_tokens is None" in kernel.run("%load_ext segmind_jupyter").text
    assert "only" in kernel.run("%config ClaudeMagics.cache").text
