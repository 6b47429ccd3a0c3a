"""Where each setting comes from, and which values cannot work."""

from __future__ import annotations

import json
import pickle

import pytest

from segmind_jupyter.api.settings import (
    DEFAULT_BASE_URL,
    SIMULATOR,
    Secret,
    origin,
    resolve,
)
from segmind_jupyter.errors import MissingKeyError, SettingsError

KEY = "sk-live-0123456789abcdef"


def test_an_argument_wins_over_the_environment_and_that_over_the_default():
    """`%segmind` can say where each came from; an empty variable is no key."""
    settings = resolve(environ={"SEGMIND_API_KEY": " \n"})
    assert (settings.api_key, settings.base_url) == (None, DEFAULT_BASE_URL)
    assert (settings.auth, settings.timeout_s) == ("auto", 300.0)
    assert set(settings.sources.values()) == {"default"}
    environ = {"SEGMIND_API_KEY": " sk-abcdefgh ", "SEGMIND_BASE_URL": "http://127.0.0.1:8000/v1"}
    settings = resolve(environ=environ)
    assert settings.api_key.reveal() == "sk-abcdefgh"
    assert settings.base_url == "http://127.0.0.1:8000"
    assert settings.sources["api_key"] == "SEGMIND_API_KEY"
    settings = resolve(api_key="mine-mine", environ=environ)
    assert settings.api_key.reveal() == "mine-mine"
    assert settings.sources["api_key"] == "set here"


def test_a_version_at_the_end_of_the_base_url_is_accepted():
    """The vendor's SDK is configured with one."""
    for url, expected in [
        *((f"https://api.segmind.com{end}", DEFAULT_BASE_URL) for end in ("", "/", "/v1/", "/v2")),
        ("https://proxy.example/segmind/v1", "https://proxy.example/segmind"),
        ("http://localhost:9000/v1", "http://localhost:9000"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("simulator", SIMULATOR),
    ]:
        assert origin(url) == expected


def test_a_base_url_that_cannot_work_or_leaks_is_refused():
    """Plain http to another machine would carry the key unencrypted; nothing is quoted."""
    for url in [
        *("api.segmind.com", "ftp://api.segmind.com", "https://", "https://api.segmind.com?x=1"),
        *("https://user:secret@api.segmind.com", "https://api.segmind.com:port", "https://[::1"),
        *("http://api.segmind.com", "javascript:alert(1)", "secret", "ftp://user:secret@host"),
        "https://host:secret",
    ]:
        with pytest.raises(SettingsError, match="base URL") as caught:
            origin(url)
        assert "secret" not in str(caught.value)


def test_a_models_address_is_no_base_url():
    """It would be taken for a prefix, and answered 404; the message says what to give."""
    for url in (
        "https://api.segmind.com/v1/claude-4-sonnet",
        "https://api.segmind.com/v2/claude-4-sonnet/",
        "https://www.segmind.com/models/claude-4-sonnet",
    ):
        with pytest.raises(SettingsError, match="the address of a model") as caught:
            origin(url)
        assert "https://api.segmind.com" in str(caught.value)


def test_a_key_in_quotation_marks_is_the_key():
    """As a `.env` file or `docker --env-file` hands it on; half a pair is refused."""
    for text in (f'"{KEY}"', f"'{KEY}'", f"“{KEY}”", f' "{KEY}"\n'):
        assert Secret(text) == Secret(KEY)
    for text, words in ((f'"{KEY}', "quotation"), (f"Bearer {KEY}", "`Bearer`"), ('""', "empty")):
        with pytest.raises(SettingsError, match=words) as caught:
            Secret(text)
        assert KEY not in str(caught.value)


def test_a_missing_key_says_how_to_give_one():
    """Also where it lies in a `.env` file, as nothing here reads that."""
    told = str(MissingKeyError())
    for way in ("%segmind key", "SEGMIND_API_KEY", "%dotenv", "%segmind simulator"):
        assert way in told


class TestSecret:
    def test_it_shows_itself_nowhere(self):
        """repr, str, format and f-strings are redacted; a saved object does not carry it along."""
        secret = Secret(KEY)
        assert KEY not in f"{secret} {secret!r} {secret:>30} {secret!s}"
        assert secret.reveal() == KEY
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret)

    def test_it_is_blanked_out_of_json_within_json(self):
        """However its letters are escaped, and however often the text was quoted again."""
        key = 'sk/live\\"0123456789+abcDEF'
        forms = {
            "plain": list(key),
            "lower": [f"\\u{ord(letter):04x}" for letter in key],
            "upper": [f"\\u{ord(letter):04X}" for letter in key],
        }
        forms["mixed"] = [forms[("plain", "lower")[n % 2]][n] for n in range(len(key))]
        for letters in forms.values():
            text = "".join(letters)
            for _ in range(4):
                shown = Secret(key).scrub(f"before {text} after")
                assert shown.replace('"', "").replace("\\", "") == "before <hidden> after"
                text = json.dumps(text).replace("/", "\\/")

    def test_a_text_of_escapes_is_read_in_one_pass(self):
        """A server may send millions of them."""
        for text in ("\\" * 1_000_000, "\\u0073" * 200_000, "s\\" * 500_000):
            assert Secret(KEY).scrub(text) == text

    def test_what_cannot_stand_in_a_header_is_refused_without_being_quoted(self):
        """The header library would quote it in its own error; a pasted line end is dropped."""
        assert Secret(f"  {KEY}\n") == Secret(KEY)
        assert hash(Secret(f"{KEY}\n")) == hash(Secret(KEY))
        for text in ("", "  ", "a b", "a\nb", "naïve-key", "key\x00", "k\u2028k"):
            with pytest.raises(SettingsError) as caught:
                Secret(text)
            assert not text.strip() or text.strip() not in str(caught.value)
