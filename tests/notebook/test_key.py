"""`%segmind key`: a key is typed in, kept in the keyring and found there; it shows nowhere."""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from unittest.mock import Mock

import keyring
import pytest
from IPython.core.error import StdinNotImplementedError
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from segmind_jupyter.api import keys
from segmind_jupyter.session import _only_session, session

KEY = "sk-live-0123456789abcdef"


class Memory(KeyringBackend):
    """A keyring that holds what it is given, as long as the test lasts."""

    priority = 1
    name = "Memory"

    def __init__(self):
        super().__init__()
        self.held = {}
        self.error = None
        self.unlocked = threading.Event()
        self.unlocked.set()

    def _open(self):
        if self.error is not None:
            raise self.error
        assert self.unlocked.wait(60)
        return self.held

    def get_password(self, service, username):
        return self._open().get((service, username))

    def set_password(self, service, username, password):
        self._open()[service, username] = password

    def delete_password(self, service, username):
        del self._open()[service, username]


@pytest.fixture
def memory(shell, monkeypatch):
    """A keyring of the test's own, no key in the environment, and a key to be typed in."""
    before, backend = keyring.get_keyring(), Memory()
    keyring.set_keyring(backend)
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    monkeypatch.delenv("SEGMIND_BASE_URL", raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"{KEY}\n")
    keys._reading.cache_clear()
    yield backend
    backend.unlocked.set()
    keys._reading.cache_clear()
    keys._colab_key.cache_clear()
    keyring.set_keyring(before)
    shell.db.pop("segmind_jupyter/key_saved", None)


def restarted():
    """Leave what a kernel that has just started would find."""
    session().close()
    _only_session.cache_clear()
    keys._reading.cache_clear()


def test_a_key_is_typed_in_and_shown_nowhere(run, memory, recorder, monkeypatch):
    """It is sent, and neither in the output nor in the history nor in the namespace."""
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    typed = run("%segmind key")
    assert "cloud.segmind.com" in typed.shown
    assert KEY not in typed.shown
    assert run("%%claude\nHi").error is None
    assert recorder.posts[0].headers["x-api-key"] == KEY
    assert "set with `%segmind key`" in run("%segmind").shown
    assert KEY not in run("%segmind").shown + str(run("globals()").result)
    assert memory.held == {}


def test_a_saved_key_is_found_by_the_next_kernel_until_it_is_forgotten(
    run, memory, recorder, monkeypatch
):
    """After the environment; `%segmind` tells where it is from."""
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    saved = run("%segmind key --save").shown
    assert "saved in the keyring (Memory)" in saved
    assert list(memory.held.values()) == [KEY]
    restarted()
    assert run("%reload_ext segmind_jupyter").shown == ""
    assert run("%%claude\nHi").error is None
    assert recorder.posts[0].headers["x-api-key"] == KEY
    status = run("%segmind").shown
    assert "set, from the keyring" in status
    monkeypatch.setenv("SEGMIND_API_KEY", "another-0123456789")
    assert "set, from SEGMIND_API_KEY" in run("%segmind").shown
    forgotten = run("%segmind key --forget").shown
    assert "is removed from the keyring" in forgotten
    assert "SEGMIND_API_KEY still holds one" in forgotten
    monkeypatch.delenv("SEGMIND_API_KEY")
    assert memory.held == {}
    assert "missing" in run("%segmind").shown
    assert "was not in the keyring" in run("%segmind key --forget").shown
    assert KEY not in saved + status + forgotten


def test_a_key_that_is_not_typed_in_changes_nothing(run, memory, monkeypatch):
    """Nobody is there to type, the question is interrupted, or the key stands on the line."""
    for error, said in (
        (StdinNotImplementedError("no stdin"), "SEGMIND_API_KEY"),
        (EOFError(), "SEGMIND_API_KEY"),
        (KeyboardInterrupt(), "Nothing was changed"),
    ):
        monkeypatch.setattr("getpass.getpass", Mock(side_effect=error))
        assert said in run("%segmind key --save").shown
    for line in (KEY, f"--save {KEY}"):
        done = run(f"%segmind key {line}")
        assert type(done.error).__name__ == "UsageError"
        assert KEY not in done.shown
        assert "renew the key" in done.shown
    assert memory.held == {}


def test_a_keyring_that_refuses_is_told_and_breaks_nothing(run, memory):
    """By the name of its error alone, as its words may hold the key; the typed one holds."""
    memory.error = KeyringLocked(KEY)
    done = run("%%claude\nHi")
    assert type(done.error).__name__ == "MissingKeyError"
    assert "the keyring cannot be used (KeyringLocked)" in done.shown
    assert KEY not in done.shown
    assert "KeyringLocked" in run("%segmind").shown
    refused = run("%segmind key --save")
    assert "The key is set for this kernel, and was not saved" in refused.shown
    assert KEY not in refused.shown
    assert session().settings().api_key is not None
    memory.error = None
    restarted()
    assert "No API key. Run `%segmind key`" in run("%%claude\nHi").shown


def test_a_keyring_that_forgets_is_found_out(run, memory, monkeypatch):
    """As keyring's own null backend does."""
    monkeypatch.setattr(memory, "set_password", lambda *_: None)
    assert "did not keep the key" in run("%segmind key --save").shown


def test_a_keyring_that_does_not_answer_holds_nobody_up(run, memory, monkeypatch):
    """It is left to wait for its owner; once it is unlocked, its key is used."""
    memory.held[keys.SERVICE, "SEGMIND_API_KEY"] = KEY
    memory.unlocked.clear()
    monkeypatch.setattr(keys, "_READ_S", 0.01)
    monkeypatch.setattr(keys, "_WRITE_S", 0.01)
    assert "the keyring has not answered" in run("%%claude\nHi").shown
    assert "The keyring has not answered" in str(run("%segmind key --save").error)
    reading, _ = keys._reading()
    memory.unlocked.set()
    reading.result(60)
    session().use_key(None)
    assert session().settings().sources["api_key"] == "the keyring"


def test_without_the_library_nothing_is_asked(run, memory, monkeypatch):
    """The command that installs it is named before a key is typed in."""
    monkeypatch.setitem(sys.modules, "keyring", None)  # Python's way to say: it is not there
    assert "segmind-jupyter[keyring]" in run("%segmind key --save").shown
    assert "No API key. Run `%segmind key`" in run("%%claude\nHi").shown


def test_a_secret_of_colab_is_found(run, memory, monkeypatch):
    """Before the keyring's; one that the notebook has no access to is told."""

    class NotebookAccessError(Exception):
        pass

    memory.held[keys.SERVICE, "SEGMIND_API_KEY"] = "another-0123456789"
    google, colab = ModuleType("google"), ModuleType("google.colab")
    google.colab = colab
    for name, module in (("google", google), ("google.colab", colab)):
        monkeypatch.setitem(sys.modules, name, module)
    colab.userdata = Mock()
    for error, said in (
        (NotebookAccessError(KEY), "this notebook has no access to it"),
        (LookupError(KEY), "set, from the keyring"),
        (None, "set, from Colab's secrets"),
    ):
        colab.userdata.get = Mock(side_effect=error, return_value=KEY)
        shown = run("%segmind").shown
        assert said in shown
        assert KEY not in shown


def test_loading_says_in_one_line_that_there_is_no_key(run, memory, monkeypatch):
    """Nothing where there is one, where none is needed, or where asking would take its time."""
    (line,) = run("%reload_ext segmind_jupyter").shown.splitlines()
    assert "`%segmind key`" in line
    assert "`%segmind simulator`" in line
    for name, value in (("SEGMIND_API_KEY", KEY), ("SEGMIND_BASE_URL", "simulator")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert run("%reload_ext segmind_jupyter").shown == ""
    run("%segmind simulator")
    assert run("%reload_ext segmind_jupyter").shown == ""


@pytest.mark.kernel
def test_a_page_is_asked_for_the_key_and_shown_none_of_it(start):
    """By a field that hides what is typed; no message that the kernel sends holds it."""
    kernel = start()
    assert kernel.run("%load_ext segmind_jupyter").status == "ok"
    message_id = kernel.client.execute("%segmind key", allow_stdin=True)
    asked = kernel.client.get_stdin_msg(timeout=60)["content"]
    assert (asked["password"], asked["prompt"]) == (True, "Segmind API key: ")
    kernel.client.input(KEY[::-1])
    typed = kernel.collect(message_id)
    assert typed.status == "ok"
    assert "The key is set for this kernel" in typed.text
    assert KEY[::-1] not in typed.text + kernel.run("%segmind").text
