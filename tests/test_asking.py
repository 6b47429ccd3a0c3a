"""`ask` in programs: scripts, threads, running loops, forked children."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from segmind_jupyter import ContentError, SettingsError, ask, submit
from segmind_jupyter.session import _only_session, session

KEY = "sk-live-0123456789abcdef"


def script(code: str, base_url: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, with warnings as errors."""
    environment = {**os.environ, "SEGMIND_API_KEY": KEY, "SEGMIND_BASE_URL": base_url}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_script_asks_and_ends(recorder: Any):
    """No thread, socket or loop keeps it from ending, and none is complained about."""
    done = script("from segmind_jupyter import ask; print(ask('Hi'))", recorder.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "A sunset.\n", "")


def test_an_error_in_a_script_is_a_short_traceback_without_the_key(recorder: Any):
    """At most twelve lines, the last of which says what to do."""
    recorder.will_answer(502, f"<html><title>Bad gateway for {KEY}</title></html>".encode())
    done = script("from segmind_jupyter import ask\nask('Hi')", recorder.url)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert len(lines) <= 12
    assert "MaybeBilledError" in lines[-1]
    assert "not sent again" in lines[-1]
    assert KEY not in done.stdout + done.stderr
    assert len(recorder.posts) == 1


@pytest.mark.parametrize(
    "code",
    [
        """
        import asyncio
        from segmind_jupyter import ask
        async def main(): print(ask('Hi'))
        asyncio.run(main())
        """,
        """
        from concurrent.futures import ThreadPoolExecutor
        from segmind_jupyter import ask
        with ThreadPoolExecutor(8) as pool:
            print({reply.text for reply in pool.map(ask, ['Hi'] * 24)}.pop())
        """,
        """
        import multiprocessing, warnings
        from segmind_jupyter import ask
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking beside threads
        def child(): assert ask('Hi').text == 'A sunset.'
        if __name__ == "__main__":
            print(ask('Hi'))
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start(); process.join()
            assert process.exitcode == 0
        """,
    ],
    ids=["in a running loop", "from many threads", "after a fork"],
)
def test_ask_works(recorder: Any, code: str):
    """Wherever people call it from."""
    done = script(code, recorder.url)
    assert (done.stdout, done.stderr, done.returncode) == ("A sunset.\n", "", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_begins_with_a_session_of_its_own(recorder: Any):
    """What was set holds there too; threads, connections, jobs and what was counted stay behind."""
    code = """
    import multiprocessing, os, warnings
    from segmind_jupyter import ask
    from segmind_jupyter.session import session
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking beside threads
    parent = session()
    parent.use_key(os.environ.pop("SEGMIND_API_KEY"))
    parent.use_journal(False)
    parent.options = parent.options.replace(model="claude-3-haiku")
    ask('Hi')
    def child():
        assert session() is session() is not parent
        assert session().journal.path is None
        assert (session().pending, session().ledger.calls) == ((), ())
        assert ask('Hi').request.model == "claude-3-haiku"
        grandchild = multiprocessing.get_context("fork").Process(target=ask, args=('Hi',))
        grandchild.start(); grandchild.join()
        assert grandchild.exitcode == 0
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start(); process.join()
    print(process.exitcode, session() is parent, len(parent.ledger.calls), ask('Hi'))
    """
    done = script(code, recorder.url)
    assert (done.stdout, done.stderr) == ("0 True 1 A sunset.\n", "")
    assert len(recorder.posts) == 4


def test_many_threads_share_one_client(recorder: Any):
    """The first calls of two threads at the same time do not make two clients."""
    code = """
    from concurrent.futures import ThreadPoolExecutor
    from segmind_jupyter.session import session
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: session().credits(), range(64)))
    print(len(session()._connections._clients))
    """
    for _ in range(64):
        recorder.will_answer(200, {"credits": 1.0})
    assert script(code, recorder.url).stdout == "1\n"


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A session that asks the embedded simulator, with a journal of its own."""
    monkeypatch.setenv("SEGMIND_BASE_URL", "simulator")
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path))
    _only_session.cache_clear()
    yield
    session().close()
    _only_session.cache_clear()


def test_a_reply_is_what_json_says(simulated: None):
    """Of `ask` and of `submit`; a type that is none is refused before anything is sent."""
    kind = Literal["yes", "no"]
    assert ask("Is it?", json=kind).parsed in ("yes", "no")
    assert submit("Is it?", json=list[int]).wait(60).parsed
    with pytest.raises(ContentError):
        ask("Is it?", json="yes")
    with pytest.raises(SettingsError, match="response_format"):
        ask("Is it?", json=kind, response_format={})
