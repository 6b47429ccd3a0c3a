"""Where each setting comes from, and which values cannot work."""

from __future__ import annotations

import pytest

from segmind_jupyter.api.settings import DEFAULT_BASE_URL, SIMULATOR, origin, resolve
from segmind_jupyter.errors import SettingsError


def test_the_defaults_hold_where_nothing_is_set():
    """No key, the vendor's origin, 300 s."""
    settings = resolve(environ={})
    assert (settings.api_key, settings.base_url) == (None, DEFAULT_BASE_URL)
    assert (settings.auth, settings.timeout_s) == ("auto", 300.0)
    assert settings.sources["base_url"] == "default"


def test_the_environment_counts_and_is_named_as_the_source():
    """`%segmind status` can say where the key came from."""
    environ = {"SEGMIND_API_KEY": " sk-abcdefgh ", "SEGMIND_BASE_URL": "http://127.0.0.1:8000/v1"}
    settings = resolve(environ=environ)
    assert settings.api_key.reveal() == "sk-abcdefgh"
    assert settings.base_url == "http://127.0.0.1:8000"
    assert settings.sources["api_key"] == "SEGMIND_API_KEY"


def test_an_argument_wins_over_the_environment():
    """What is said in the notebook counts most."""
    settings = resolve(api_key="mine-mine", environ={"SEGMIND_API_KEY": "theirs"})
    assert settings.api_key.reveal() == "mine-mine"
    assert settings.sources["api_key"] == "set here"


@pytest.mark.parametrize("environ", [{"SEGMIND_API_KEY": ""}, {"SEGMIND_API_KEY": "  \n"}])
def test_an_empty_variable_is_no_key(environ):
    """An exported but empty variable is a common accident."""
    assert resolve(environ=environ).api_key is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.segmind.com", "https://api.segmind.com"),
        ("https://api.segmind.com/", "https://api.segmind.com"),
        ("https://api.segmind.com/v1", "https://api.segmind.com"),
        ("https://api.segmind.com/v1/", "https://api.segmind.com"),
        ("https://api.segmind.com/v2", "https://api.segmind.com"),
        ("https://proxy.example/segmind/v1", "https://proxy.example/segmind"),
        ("http://localhost:9000/v1", "http://localhost:9000"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("simulator", SIMULATOR),
    ],
)
def test_a_version_at_the_end_of_the_base_url_is_accepted(url, expected):
    """The vendor's SDK is configured with one."""
    assert origin(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "api.segmind.com",
        "ftp://api.segmind.com",
        "https://",
        "https://user:secret@api.segmind.com",
        "https://api.segmind.com?x=1",
        "https://api.segmind.com:port",
        "http://api.segmind.com",
        "https://[::1",
        "javascript:alert(1)",
        "secret",
        "ftp://user:secret@host",
        "https://host:secret",
    ],
)
def test_a_base_url_that_cannot_work_or_leaks_is_refused(url):
    """Plain http to another machine would carry the key unencrypted."""
    with pytest.raises(SettingsError, match="base URL") as caught:
        origin(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan"), "soon", []])
def test_a_time_out_must_be_a_positive_number(timeout_s):
    """A wait without an end would freeze the cell."""
    with pytest.raises(SettingsError, match="positive"):
        resolve(timeout_s=timeout_s, environ={})


def test_an_unknown_auth_form_lists_the_known_ones():
    """The next step is in the message."""
    with pytest.raises(SettingsError, match="x-api-key"):
        resolve(auth="basic", environ={})
