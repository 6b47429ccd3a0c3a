"""A setting in a configuration file that is refused: nothing is loaded, so nothing is sent."""

from __future__ import annotations

from traitlets.config import Config

from segmind_jupyter.errors import SettingsError


def test_a_setting_that_is_refused_is_told_and_nothing_is_loaded(run, shell, online):
    """One sentence; with it put right, all is there."""
    for name, value in (("max_tokens", 0), ("cache", "onyl"), ("keep_loop_alive", True)):
        run("%unload_ext segmind_jupyter")
        shell.config["ClaudeMagics"] = Config({name: value, "model": "claude-3-opus"})
        done = run("%load_ext segmind_jupyter")
        assert isinstance(done.error, SettingsError)
        assert "Traceback" not in done.shown
        assert "claude" not in shell.magics_manager.magics["cell"]
        assert "ClaudeMagics" not in {type(each).__name__ for each in shell.configurables}
        del shell.config["ClaudeMagics"][name]
    run("%load_ext segmind_jupyter")
    assert run("%%claude\nHi").error is None
    assert online.posts[0].path == "/v1/claude-3-opus"
