"""The journal: what it remembers, with whom it shares its file, and what it does without one."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from segmind_jupyter.api.journal import (
    Holding,
    JobRecord,
    Journal,
    JournalFile,
    Unusable,
    default_path,
    joined,
)

#: Before the real time, at which the processes below write: they must not find old jobs.
NOW = 1_700_000_000.0
DAY_S = 24 * 3600.0
BODY = '{"status": "COMPLETED", "output": "{}"}'

needs_posix = pytest.mark.skipif(os.name != "posix", reason="modes, fork and signals of POSIX")


def queued(request_id: str = "a", **fields: Any) -> JobRecord:
    known = {"origin": "https://api.segmind.com", "model": "claude-4-sonnet", "submitted_at": NOW}
    return JobRecord(request_id=request_id, state="QUEUED", **{**known, **fields})


@dataclasses.dataclass
class Bench:
    """Stores over one file, on one clock; what they warned of."""

    path: Path
    now: float = NOW
    warned: list[str] = dataclasses.field(default_factory=list)
    stores: list[Journal] = dataclasses.field(default_factory=list)

    def open(self, **kwargs: Any) -> Journal:
        kwargs = {"path": self.path, "retry_s": 3600.0, **kwargs}
        store = Journal(clock=lambda: self.now, warn=self.warned.append, **kwargs)
        self.stores.append(store)
        return store

    def close(self) -> None:
        while self.stores:
            self.stores.pop().close()


@pytest.fixture
def bench(tmp_path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "state" / "jobs.sqlite3")
    yield bench
    bench.close()


@pytest.fixture(params=["file", "memory"])
def store(request, bench) -> Journal:
    """A store over a file, and one with the journal turned off."""
    return bench.open(path=bench.path if request.param == "file" else None)


def outside(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement as another program would."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


# What it remembers ----------------------------------------------------------------------------


def test_a_job_is_found_by_its_id(store):
    """With all that was said of it, and when the journal heard of it."""
    entry = queued(work="w", place="plots.ipynb")
    store.submitted(entry)
    assert store.find("a") == dataclasses.replace(entry, noted_at=NOW)
    assert store.find("b") is None


def test_an_end_is_added_to_what_was_submitted(store):
    """The reply stands as it was fetched."""
    store.submitted(queued())
    store.ended("a", state="COMPLETED", raw=BODY, seconds=12.5)
    ended = {"state": "COMPLETED", "ended_at": NOW, "raw": BODY, "seconds": 12.5}
    assert store.find("a") == dataclasses.replace(queued(noted_at=NOW), **ended)


def test_the_end_of_an_unknown_job_is_kept(store):
    """`resume` of an id from elsewhere may fetch a reply before anything was noted."""
    store.ended("a", state="COMPLETED", raw=BODY)
    assert store.find("a").raw == BODY
    store.submitted(queued(place="plots.ipynb"))
    found = store.find("a")
    assert (found.raw, found.place, found.submitted_at) == (BODY, "plots.ipynb", NOW)


def test_a_job_noted_twice_keeps_what_it_has_and_gains_what_it_lacks(store):
    """`resume` notes an id again that another notebook had submitted."""
    store.submitted(queued(model=None, place="first.ipynb"))
    store.ended("a", state="COMPLETED", raw=BODY)
    store.submitted(queued(model="claude-3-opus", submitted_at=NOW + 5, place="second.ipynb"))
    found = store.find("a")
    assert (found.state, found.raw) == ("COMPLETED", BODY)
    assert (found.model, found.submitted_at, found.place) == ("claude-3-opus", NOW, "first.ipynb")


@pytest.mark.parametrize("state", ["FAILED", "EXPIRED", "COMPLETED"])
def test_a_kept_reply_outlives_all_that_is_said_later(store, state):
    """The server forgets after an hour; another kernel then notes the job as expired."""
    store.ended("a", state="COMPLETED", raw=BODY)
    store.ended("a", state=state, error="unknown id")
    found = store.find("a")
    assert (found.state, found.raw, found.error) == ("COMPLETED", BODY, None)


@pytest.mark.parametrize("state", ["FAILED", "EXPIRED"])
def test_a_job_that_completed_without_its_reply_can_still_come_to_nothing(store, state):
    """Its status was seen, its result was not there any more."""
    store.ended("a", state="COMPLETED")
    store.ended("a", state=state)
    assert store.find("a").state == state


def test_an_expired_job_whose_reply_is_fetched_after_all_has_completed(store):
    """A 404 of a young job may pass."""
    store.ended("a", state="EXPIRED")
    store.ended("a", state="COMPLETED", raw=BODY)
    assert (store.find("a").state, store.find("a").raw) == ("COMPLETED", BODY)


def test_jobs_are_listed_newest_first_without_their_replies(store, bench):
    """A job of unknown age stands where it was noted."""
    store.submitted(queued("old", submitted_at=NOW - 100))
    store.submitted(queued("new", submitted_at=NOW - 10))
    bench.now = NOW - 50
    store.submitted(queued("elsewhere", submitted_at=None))
    store.ended("old", state="COMPLETED", raw=BODY)
    listed = store.entries()
    assert [entry.request_id for entry in listed] == ["new", "elsewhere", "old"]
    assert [entry.kept for entry in listed] == [False, False, True]
    assert [entry.raw for entry in listed] == [None, None, None]
    assert [entry.request_id for entry in store.entries(limit=2)] == ["new", "elsewhere"]


def test_equal_work_is_found_answered_first_then_pending(store):
    """What was answered need not be asked again; what is pending is waited for."""
    store.submitted(queued("pending", work="w", submitted_at=NOW))
    assert store.find_work("w").request_id == "pending"
    for age_s, name in enumerate(["newer", "older"]):
        store.submitted(queued(name, work="w", submitted_at=NOW - 10 - age_s))
        store.ended(name, state="COMPLETED", raw=name)
    assert store.find_work("w").raw == "newer"
    assert store.find_work("x") is None


@pytest.mark.parametrize(("state", "raw"), [("FAILED", BODY), ("EXPIRED", None)])
def test_work_that_came_to_nothing_is_not_found(store, state, raw):
    """It may be asked again."""
    store.submitted(queued(work="w"))
    store.ended("a", state=state, raw=raw)
    assert store.find_work("w") is None


def test_durations_of_one_model_at_one_place_newest_first(store):
    """Poll times are learned from them; a simulator's say nothing about the service."""
    for age_s, (name, model, origin) in enumerate(
        [
            ("a", "m", "o"),
            ("b", "m", "o"),
            ("c", "n", "o"),
            ("d", "m", "simulator"),
            ("e", "m", "o"),
        ]
    ):
        store.submitted(queued(name, model=model, origin=origin, submitted_at=NOW - age_s))
        store.ended(name, state="COMPLETED", seconds=float(age_s) if name != "e" else None)
    assert store.durations("o", "m") == [0.0, 1.0]
    assert store.durations("o", "m", limit=1) == [0.0]


@pytest.mark.parametrize("text", ["\ud800 half", "nul \0 inside", "日本語 🎈", "x" * 3_000_000])
def test_any_reply_comes_back_as_it_was(store, text):
    """JSON may hold half characters, and SQLite's text may not."""
    store.ended("a", state="COMPLETED", raw=text)
    store.ended("b", state="FAILED", error=text)
    assert store.find("a").raw == text
    assert store.find("b").error == text.replace("\ud800", "?")


def test_old_jobs_are_pruned_by_what_last_happened_to_them(store, bench):
    """An old job that ended today is young; one of unknown age counts from when it was noted."""
    bench.now = NOW - 40 * DAY_S
    for name in ("old", "ended today"):
        store.submitted(queued(name, submitted_at=bench.now))
    store.submitted(queued("elsewhere", submitted_at=None))
    bench.now = NOW
    store.ended("ended today", state="COMPLETED", raw=BODY)
    assert store.prune(max_age_s=41 * DAY_S) == 0
    assert store.prune() == 2
    assert [entry.request_id for entry in store.entries()] == ["ended today"]


def test_opening_a_file_prunes_it(bench):
    """Nobody needs to ask for it."""
    bench.open().submitted(queued())
    bench.now = NOW + 31 * DAY_S
    assert bench.open().entries() == []


def test_a_fingerprint_is_the_same_in_all_kernels_and_cannot_be_guessed(bench, tmp_path):
    """Its key is the file's; another file has another one, and the words are nowhere."""
    first, second = bench.open(), bench.open()
    prompt = b"a short and secret prompt"
    work = first.fingerprint(prompt)
    assert work == second.fingerprint(prompt) != first.fingerprint(prompt + b"?")
    assert work != bench.open(path=tmp_path / "other.sqlite3").fingerprint(prompt)
    assert work != hashlib.blake2b(prompt, digest_size=16).hexdigest()
    first.submitted(queued(work=work))
    files = list(bench.path.parent.iterdir())
    assert files
    assert not any(prompt in file.read_bytes() for file in files)


def test_fingerprints_agree_in_memory(bench):
    """Also without a file equal work is found again."""
    store = bench.open(path=None)
    assert store.fingerprint(b"x") == store.fingerprint(b"x") != store.fingerprint(b"y")


# The replies that it keeps ---------------------------------------------------------------------


def test_a_kept_reply_is_found_by_its_key(store, bench):
    """With the time at which it was kept; another key finds nothing."""
    store.keep_reply("k", b"{}")
    bench.now += 60
    found = store.kept_reply("k")
    assert (found.body, found.kept_at) == (b"{}", NOW)
    assert store.kept_reply("l") is None


def test_the_later_of_two_replies_to_one_request_is_kept(store, bench):
    """Two kernels may have asked the same at one time."""
    store.keep_reply("k", b"first")
    bench.now += 60
    store.keep_reply("k", b"second")
    found = store.kept_reply("k")
    assert (found.body, found.kept_at) == (b"second", NOW + 60)
    assert store.kept_replies().count == 1


def test_kept_replies_are_counted(store, bench):
    """How many, how long, since when."""
    assert store.kept_replies() == Holding()
    store.keep_reply("k", b"12345")
    bench.now += 60
    store.keep_reply("l", b"123")
    assert store.kept_replies() == Holding(count=2, n_bytes=8, oldest_at=NOW)


def test_beyond_the_bound_the_reply_goes_that_was_not_used_for_the_longest(bench):
    """Days count, not seconds: noting each use would write at every look."""
    store = bench.open(max_reply_bytes=30)
    for name in "abc":
        store.keep_reply(name, b"0123456789")
        bench.now += 2 * DAY_S
    assert store.kept_reply("a") is not None
    bench.now += 2 * DAY_S
    store.keep_reply("d", b"0123456789")
    kept = [name for name in "abcd" if bench.open().kept_reply(name)]
    assert kept == ["a", "c", "d"]


def test_a_reply_that_is_longer_than_the_bound_is_not_kept(bench):
    """What it would push out is worth more."""
    store = bench.open(max_reply_bytes=10)
    store.keep_reply("short", b"0123456789")
    bench.now += 60
    store.keep_reply("long", b"0123456789!")
    assert store.kept_reply("long") is None


def test_old_jobs_are_forgotten_and_kept_replies_are_not(store, bench):
    """Whoever runs a notebook once a year pays once."""
    store.submitted(queued())
    store.keep_reply("k", b"{}")
    bench.now += 400 * DAY_S
    assert store.prune() == 1
    assert store.kept_reply("k") is not None


def test_what_is_cleared_is_gone_from_the_disk(bench):
    """SQLite itself would leave the words in free pages; jobs stay."""
    store = bench.open()
    store.ended("a", state="COMPLETED", raw=BODY)
    store.keep_reply("k", b"a very private reply" * 500)
    store.keep_reply("l", b"another")
    assert store.clear_replies() == 2
    assert store.clear_replies() == 0
    assert store.kept_reply("k") is None
    assert store.find("a").raw == BODY
    files = list(bench.path.parent.iterdir())
    assert bench.path in files
    assert not any(b"private" in file.read_bytes() for file in files)


def test_a_reply_is_in_the_file_itself_at_once(bench, tmp_path):
    """The file alone can be copied, also while a kernel has it open, or after one was killed."""
    bench.open().keep_reply("k", b"{}")
    copied = shutil.copy(bench.path, tmp_path / "copy.sqlite3")
    assert bench.open(path=copied).kept_reply("k").body == b"{}"


def test_a_folder_copied_with_its_log_works(bench, tmp_path):
    """Whoever copies a folder in use takes SQLite's own files with it."""
    bench.open().keep_reply("k", b"{}")
    assert {file.suffix for file in bench.path.parent.iterdir()} > {".sqlite3"}
    shutil.copytree(bench.path.parent, tmp_path / "elsewhere")
    copied = bench.open(path=tmp_path / "elsewhere" / bench.path.name)
    assert copied.kept_reply("k").body == b"{}"
    copied.keep_reply("l", b"{}")
    assert bench.warned == []


def test_looking_does_not_write(bench):
    """A file under version control stays as it is when a notebook runs again."""
    bench.open().keep_reply("k", b"{}")
    bench.close()
    before = content(bench.path)
    store = bench.open()
    assert store.kept_reply("k") is not None
    store.close()
    bench.now += 2 * DAY_S
    store = bench.open()
    assert store.kept_reply("k", read_only=True) is not None
    store.close()
    assert content(bench.path) == before


def test_a_file_of_an_earlier_version_gains_what_it_lacks(bench):
    """A kernel of that version that has it open goes on with its jobs."""
    bench.open().submitted(queued("before"))
    bench.close()
    outside(bench.path, "DROP TABLE replies")
    outside(bench.path, "PRAGMA user_version = 1")
    earlier = sqlite3.connect(bench.path, isolation_level=None)
    earlier.execute("SELECT * FROM jobs").fetchall()
    store = bench.open()
    store.keep_reply("k", b"{}")
    earlier.execute("UPDATE jobs SET state = 'COMPLETED' WHERE request_id = 'before'")
    earlier.close()
    assert store.kept_reply("k") is not None
    assert store.find("before").state == "COMPLETED"


@pytest.mark.parametrize("spoiled", ["''", "17", "x'ff00'", "'text'"])
def test_bytes_come_out_whatever_damage_left_of_a_reply(bench, spoiled):
    """Whether they are a reply is judged by whoever reads them."""
    store = bench.open()
    store.keep_reply("k", b"{}")
    outside(bench.path, f"UPDATE replies SET body = {spoiled}")
    assert isinstance(store.kept_reply("k").body, bytes)


def test_a_locked_file_gets_the_replies_that_came_meanwhile(bench, locked):
    """They are found in memory until then."""
    store = bench.open()
    store.keep_reply("k", b"{}")
    assert store.kept_reply("k").body == b"{}"
    assert store.kept_replies() == Holding(count=1, n_bytes=2, oldest_at=NOW)
    assert len(bench.warned) == 1
    locked()
    store.close()
    assert bench.open().kept_reply("k").body == b"{}"


def test_replies_of_two_processes_are_all_kept(bench):
    """Kernels share the file."""
    keeping = """
import sys; from pathlib import Path
from segmind_jupyter.api.journal import Journal
store = Journal(Path(sys.argv[1]))
for n in range(20):
    store.keep_reply(f"{sys.argv[2]}{n}", b"{}")
store.close()
"""
    processes = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", keeping, str(bench.path), name])
        for name in "ab"
    ]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert bench.open().kept_replies().count == 40


@pytest.fixture
def frozen(bench) -> Iterator[Callable[[], None]]:
    """A folder that nobody can write once this is called: root, who always may, becomes nobody."""
    root = os.geteuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    bench.path = Path(tempfile.mkdtemp()) / "state" / "jobs.sqlite3"

    def freeze() -> None:
        bench.path.chmod(0o400)
        bench.path.parent.chmod(0o500)

    yield freeze
    bench.close()
    bench.path.parent.chmod(0o700)
    shutil.rmtree(bench.path.parent.parent)
    if root:
        os.setresuid(0, 0, 0)


@needs_posix
def test_a_read_only_checkout_gives_its_replies(bench, frozen):
    """In CI nothing may be writable; reading is no reason to warn."""
    bench.open().keep_reply("k", b"{}")
    key = bench.stores[0].fingerprint(b"x")
    bench.close()
    frozen()
    store = bench.open()
    assert store.fingerprint(b"x") == key
    assert store.kept_reply("k").body == b"{}"
    bench.now += 2 * DAY_S
    assert store.kept_reply("k").body == b"{}"
    assert store.kept_replies().count == 1
    store.close()
    assert bench.warned == []
    assert [file.name for file in bench.path.parent.iterdir()] == ["jobs.sqlite3"]


@needs_posix
def test_what_a_read_only_file_does_not_take_is_kept_in_memory_with_one_warning(bench, frozen):
    """Jobs and replies go on; clearing says that it cannot."""
    bench.open().keep_reply("k", b"{}")
    bench.close()
    frozen()
    store = bench.open()
    store.keep_reply("l", b"[]")
    store.submitted(queued())
    assert store.kept_reply("k").body == b"{}"
    assert store.kept_reply("l").body == b"[]"
    assert store.find("a") is not None
    (sentence,) = bench.warned
    assert "read-only" in sentence
    assert store.clear_replies() is None


# Where it is ----------------------------------------------------------------------------------


def test_the_environment_names_the_folder(tmp_path):
    """`SEGMIND_JUPYTER_STATE`; else the platform's folder for state."""
    named = default_path({"SEGMIND_JUPYTER_STATE": str(tmp_path)})
    assert named == tmp_path / "jobs.sqlite3"
    assert default_path({"SEGMIND_JUPYTER_STATE": "~/x"}) == Path.home() / "x" / "jobs.sqlite3"
    usual = default_path({"SEGMIND_JUPYTER_STATE": " "})
    assert usual == default_path({})
    assert usual.name == "jobs.sqlite3"
    assert usual.parent.name == "segmind_jupyter"


def test_nothing_is_made_before_the_first_use(bench):
    """A notebook without jobs leaves no file behind."""
    store = bench.open()
    store.close()
    assert not bench.path.parent.exists()
    store.submitted(queued())
    assert bench.path.exists()


def test_a_change_of_directory_does_not_move_it(bench, tmp_path, monkeypatch):
    """`%cd` is common in notebooks."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = bench.open(path=Path("jobs.sqlite3"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.submitted(queued())
    assert (tmp_path / "jobs.sqlite3").exists()


def modes(path: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in [path, *path.iterdir()]}


@needs_posix
def test_only_its_owner_can_read_it(bench):
    """Folder 0700, files 0600, those of the write-ahead log too, whatever the umask."""
    before = os.umask(0)
    try:
        bench.open().submitted(queued())
    finally:
        os.umask(before)
    assert modes(bench.path.parent) == {
        "state": 0o700,
        "jobs.sqlite3": 0o600,
        "jobs.sqlite3-wal": 0o600,
        "jobs.sqlite3-shm": 0o600,
    }


@needs_posix
def test_nobody_else_can_read_it_at_any_moment(bench):
    """It has its mode before SQLite writes into it, not from a later look at it."""
    file = JournalFile(bench.path)
    before = os.umask(0)
    try:
        seen = file.read(lambda db: modes(bench.path.parent), busy_s=1)
    finally:
        os.umask(before)
    file.close()
    assert seen["state"] == 0o700
    assert {mode for name, mode in seen.items() if name != "state"} == {0o600}


@needs_posix
def test_a_folder_in_its_place_keeps_its_mode(bench):
    """Tightened as a file is, its owner could not enter it."""
    bench.path.mkdir(parents=True)
    bench.path.chmod(0o755)
    bench.open().entries()
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o755


@needs_posix
def test_a_file_that_others_could_read_is_tightened(bench):
    """The folder was there before, so it stays as its owner made it."""
    bench.open().submitted(queued())
    for file in bench.path.parent.iterdir():
        file.chmod(0o644)
    bench.path.parent.chmod(0o755)
    bench.open().entries()
    assert modes(bench.path.parent) == {
        "state": 0o755,
        "jobs.sqlite3": 0o600,
        "jobs.sqlite3-wal": 0o600,
        "jobs.sqlite3-shm": 0o600,
    }


def test_importing_it_is_light():
    """The platform's folders are looked up only where they are asked for."""
    code = "import sys, segmind_jupyter.api.journal; sys.exit('platformdirs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# With whom it is shared -----------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from segmind_jupyter.api.journal import JobRecord, Journal
store = Journal(Path(sys.argv[1]), warn=sys.exit)
print("ready", flush=True)
sys.stdin.readline()
for n in range(200):
    name = f"{sys.argv[2]}-{n}"
    store.submitted(
        JobRecord(request_id=name, origin="o", model="m", submitted_at=None, state="QUEUED")
    )
    store.ended(name, state="COMPLETED", raw=f"reply {name}")
print(store.fingerprint(b"x"))
store.close()
"""


def start(code: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_two_processes_at_once_lose_nothing(bench):
    """Both make the file, and both write as fast as they can."""
    writers = [start(WRITER, bench.path, name) for name in ("one", "two")]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n", "ready\n"]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    answers = [writer.communicate(timeout=120) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], answers
    store = bench.open()
    assert {entry.request_id for entry in store.entries(limit=1000)} == {
        f"{name}-{n}" for name in ("one", "two") for n in range(200)
    }
    assert store.find("two-199").raw == "reply two-199"
    assert answers[0][0] == answers[1][0] == store.fingerprint(b"x") + "\n"


MAKER = """
import sys
from pathlib import Path
from segmind_jupyter.api.journal import Journal
for n in range(200):
    print("ready", flush=True)
    sys.stdin.readline()
    store = Journal(Path(sys.argv[1]) / f"{n}.sqlite3", warn=sys.exit)
    store.ended(sys.argv[2], state="COMPLETED", raw="paid for")
    store.close()
"""


def test_processes_that_make_the_file_at_the_same_moment_agree(tmp_path, bench):
    """Run All in two notebooks on a new machine: neither takes the other's half-made file ill."""
    makers = [start(MAKER, tmp_path, name) for name in ("one", "two")]
    for _ in range(200):
        assert [maker.stdout.readline() for maker in makers] == ["ready\n", "ready\n"]
        for maker in makers:
            maker.stdin.write("go\n")
            maker.stdin.flush()
    errors = [maker.communicate(timeout=120)[1] for maker in makers]
    assert errors == ["", ""]
    for n in range(200):
        made = bench.open(path=tmp_path / f"{n}.sqlite3")
        assert {entry.request_id for entry in made.entries()} == {"one", "two"}
        made.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from segmind_jupyter.api.journal import Journal
Journal(Path(sys.argv[1]), warn=sys.exit).ended("a", state="COMPLETED", raw="paid for")
os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_posix
def test_a_reply_outlives_a_kernel_that_is_killed(bench):
    """It is in the file when `ended` returns."""
    killed = start(KILLED, bench.path)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert bench.open().find("a").raw == "paid for"


FORKED = """
import os, sys
from pathlib import Path
from segmind_jupyter.api.journal import Journal
store = Journal(Path(sys.argv[1]), warn=sys.exit)
store.ended("before", state="COMPLETED", raw="1")
child = os.fork()
if not child:
    store.ended("child", state="COMPLETED", raw=store.find("before").raw)
    store.close()
    sys.exit()
_, status = os.waitpid(child, 0)
store.ended("after", state="COMPLETED", raw=store.find("child").raw)
seen = sorted(entry.request_id for entry in store.entries())
store.close()
print(status, *seen)
"""


@needs_posix
def test_a_forked_child_opens_the_file_for_itself(bench):
    """It closes its own connection and exits, and the parent's goes on."""
    forked = start(FORKED, bench.path)
    out, err = forked.communicate(timeout=60)
    assert (out, forked.returncode) == ("0 after before child\n", 0), err
    assert outside(bench.path, "PRAGMA integrity_check") == [("ok",)]
    assert bench.open().find("after").raw == "1"


FORKED_WHILE_HELD = """
import os, signal, sys, threading, warnings
from pathlib import Path
from segmind_jupyter.api.journal import Journal
held, go_on = threading.Event(), threading.Event()
def warn(message):
    held.set()
    go_on.wait(60)
store = Journal(Path(sys.argv[1]), warn=warn)
thread = threading.Thread(target=store.entries)
thread.start()
held.wait(60)
warnings.simplefilter("ignore")  # of forking with threads, which is the point
child = os.fork()
if not child:
    signal.alarm(60)
    store.ended("child", state="COMPLETED", raw="1")
    os._exit(store.find("child") is None)
print(os.waitpid(child, 0)[1])
go_on.set()
thread.join()
"""


@needs_posix
def test_a_child_does_not_wait_for_a_thread_that_it_does_not_have(bench):
    """A thread of the parent may be at the journal at the moment of the fork."""
    bench.path.parent.write_text("in the way")
    forked = start(FORKED_WHILE_HELD, bench.path)
    assert forked.communicate(timeout=120) == ("0\n", "")


def test_threads_share_a_store(store):
    """Replies are kept from worker threads."""
    failures: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for n in range(50):
                store.submitted(queued(f"{name}-{n}", work=name))
                store.ended(f"{name}-{n}", state="COMPLETED", raw=name)
                assert store.find(f"{name}-{n}").raw == name
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(store.entries(limit=1000)) == 400


def test_an_interrupted_transaction_leaves_nothing_behind(bench):
    """A KeyboardInterrupt may come at any moment on the main thread."""
    bench.open().submitted(queued())
    file = JournalFile(bench.path)

    def interrupted(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM jobs")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        file.write(interrupted, busy_s=1)
    count = "SELECT count(*) FROM jobs"
    assert file.write(lambda db: db.execute(count).fetchone()[0], busy_s=1) == 1
    file.close()


# What it does without a file ------------------------------------------------------------------


def no_sqlite_file(path: Path) -> None:
    path.write_bytes(b"this is no database. " * 100)


def cut_short(path: Path) -> None:
    made = JournalFile(path)
    made.write(lambda db: db.execute("CREATE TABLE more (x)"), busy_s=1)
    made.close()
    path.write_bytes(path.read_bytes()[:5000])


def damaged_header(path: Path) -> None:
    made = JournalFile(path)
    made.write(lambda db: None, busy_s=1)
    made.close()
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 84 + path.read_bytes()[100:])


def folder_in_its_place(path: Path) -> None:
    path.mkdir()


def another_program(path: Path) -> None:
    outside(path, "CREATE TABLE bookmarks (url TEXT)")


def newer_schema(path: Path) -> None:
    made = JournalFile(path)
    made.write(lambda db: db.execute("PRAGMA user_version = 99"), busy_s=1)
    made.close()


TROUBLES = [
    (no_sqlite_file, "no SQLite file"),
    (cut_short, "damaged"),
    (damaged_header, "no SQLite file"),
    (folder_in_its_place, "cannot be opened"),
    (another_program, "belongs to another program"),
    (newer_schema, "a newer segmind-jupyter wrote it"),
]


def remembers_in_memory(store: Journal) -> None:
    """Go through what a job needs of a store."""
    store.submitted(queued("a", work="w"))
    assert store.find_work("w").request_id == "a"
    store.ended("a", state="COMPLETED", raw=BODY, seconds=2.0)
    assert store.find("a").raw == store.find_work("w").raw == BODY
    assert [(entry.request_id, entry.kept) for entry in store.entries()] == [("a", True)]
    assert store.durations("https://api.segmind.com", "claude-4-sonnet") == [2.0]
    assert store.fingerprint(b"x") == store.fingerprint(b"x")
    store.submitted(queued("old", submitted_at=NOW - 10))


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


@pytest.mark.parametrize(
    ("spoil", "reason"), TROUBLES, ids=[spoil.__name__ for spoil, _ in TROUBLES]
)
def test_a_file_that_cannot_be_used_warns_once_and_jobs_go_on(bench, spoil, reason):
    """The one sentence says which file, why, and what to do; the file is left as it is."""
    bench.path.parent.mkdir()
    spoil(bench.path)
    before = content(bench.path)
    store = bench.open()
    remembers_in_memory(store)
    (sentence,) = bench.warned
    assert str(bench.path) in sentence
    assert reason in sentence
    assert "SEGMIND_JUPYTER_STATE" in sentence
    store.close()
    assert content(bench.path) == before


@pytest.mark.parametrize("spoil", [no_sqlite_file, folder_in_its_place])
def test_a_file_that_was_mended_gets_what_was_kept_in_memory(bench, spoil):
    """Deleting it, as the warning says, is enough; no restart is needed."""
    bench.path.parent.mkdir()
    spoil(bench.path)
    store = bench.open()
    remembers_in_memory(store)
    shutil.rmtree(bench.path.parent)
    store.submitted(queued("b"))
    assert bench.open().find("a").raw == BODY
    assert bench.open().find("b") is not None


def test_a_folder_that_cannot_be_made(bench):
    """A file stands where the folder should be."""
    bench.path.parent.write_text("in the way")
    remembers_in_memory(bench.open())
    (sentence,) = bench.warned
    assert str(bench.path.parent) in sentence


def test_old_jobs_are_pruned_in_memory_too(bench):
    """While the file cannot be used, what is kept in its place has an end as well."""
    bench.path.parent.write_text("in the way")
    store = bench.open()
    store.submitted(queued())
    bench.now = NOW + 31 * DAY_S
    assert store.prune() == 1
    assert store.entries() == []


@needs_posix
def test_a_disk_that_is_full(bench):
    """Nothing larger can be written for a while: the reply is kept, and written afterwards."""
    import resource

    store = bench.open()
    store.ended("earlier", state="COMPLETED", raw=BODY)
    store.submitted(queued("a", work="w"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, limits[1]))
    try:
        store.ended("a", state="COMPLETED", raw="x" * 1_000_000)
        assert len(store.find_work("w").raw) == 1_000_000
        assert store.find("earlier").raw == BODY
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(bench.warned) == 1
    store.submitted(queued("b"))
    assert len(bench.open().find("a").raw) == 1_000_000
    assert len(bench.warned) == 1


@pytest.mark.parametrize(
    ("pragma", "reason", "remedy"),
    [
        ("max_page_count = 1", "the disk is full", "free some space"),
        ("query_only = ON", "it is read-only", "make it and its folder writable"),
    ],
)
def test_the_remedy_is_that_of_the_trouble(bench, pragma, reason, remedy):
    """Neither is a reason to delete the file."""
    file = JournalFile(bench.path)

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE big (x)")
        connection.execute("INSERT INTO big VALUES (zeroblob(1000000))")

    with pytest.raises(Unusable) as caught:
        file.read(fill, busy_s=1)
    file.close()
    assert f"({reason})" in str(caught.value)
    assert remedy in str(caught.value)
    assert "delete" not in str(caught.value)


@pytest.fixture(params=["new file", "used file"])
def locked(request, bench) -> Iterator[Callable[[], None]]:
    """Another program holds the file; a call lets it go."""
    if request.param == "used file":
        bench.open().submitted(queued("before", submitted_at=NOW - 1000))
    else:
        bench.path.parent.mkdir()
    holder = sqlite3.connect(bench.path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    yield holder.rollback
    holder.close()


def test_a_locked_file_gets_everything_with_the_next_write_after_it_was_let_go(bench, locked):
    """Meanwhile all is answered from memory, with one warning."""
    store = bench.open()
    store.submitted(queued("a", work="w"))
    store.ended("a", state="COMPLETED", raw=BODY, seconds=2.0)
    assert store.find_work("w").raw == BODY
    assert store.entries()[0].request_id == "a"
    assert store.durations("https://api.segmind.com", "claude-4-sonnet") == [2.0]
    assert len(bench.warned) == 1
    assert "locked" in bench.warned[0]
    locked()
    store.submitted(queued("b"))
    assert bench.open().find("a").raw == BODY
    assert bench.open().find("b") is not None
    assert len(bench.warned) == 1


def test_only_the_first_call_waits_for_a_lock(bench):
    """A hundred jobs must not wait one after the other."""
    store = bench.open()
    store.submitted(queued())
    holder = sqlite3.connect(bench.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    took_s = []
    for n in range(5):
        begun = time.monotonic()
        store.ended(f"{n}", state="COMPLETED", raw=BODY)
        took_s.append(time.monotonic() - begun)
    holder.close()
    assert took_s[0] > sum(took_s[1:])


def test_what_a_lock_keeps_back_is_told_with_what_the_file_has(bench):
    """The job is in the file, and its end is not there yet."""
    store = bench.open()
    store.submitted(queued("a", work="w"))
    holder = sqlite3.connect(bench.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    store.ended("a", state="COMPLETED", raw=BODY, seconds=2.0)
    assert (store.find("a").work, store.find_work("w").raw) == ("w", BODY)
    assert store.durations("https://api.segmind.com", "claude-4-sonnet") == [2.0]
    assert [(entry.work, entry.kept) for entry in store.entries()] == [("w", True)]
    holder.close()


def test_a_locked_file_gets_everything_without_another_write(bench, locked):
    """A thread offers it again, as the last reply of a day has no write after it."""
    store = bench.open(retry_s=0.01)
    store.ended("a", state="COMPLETED", raw=BODY)
    locked()
    while waiting := [t for t in threading.enumerate() if t.name == "segmind-jupyter-journal"]:
        waiting[0].join()
    assert bench.open().find("a").raw == BODY


def test_closing_saves_what_a_lock_kept_back(bench, locked):
    """The kernel's end is the last chance."""
    store = bench.open()
    store.ended("a", state="COMPLETED", raw=BODY)
    locked()
    store.close()
    assert bench.open().find("a").raw == BODY


def test_what_is_asked_while_the_file_is_locked_is_found_by_all_afterwards(bench, locked):
    """The key of the fingerprints is the file's alone, and cannot be read until it is let go."""
    store = bench.open()
    work, key = store.fingerprint(b"work"), store.fingerprint(b"request")
    store.submitted(queued("a", work=work))
    store.keep_reply(key, b"{}")
    assert store.find_work(store.fingerprint(b"work")).request_id == "a"
    assert store.kept_reply(store.fingerprint(b"request")).body == b"{}"
    late = store.fingerprint(b"late")
    locked()
    store.submitted(queued("b", work=late))  # its answer took until now
    for kernel in (store, bench.open()):
        assert kernel.find_work(kernel.fingerprint(b"work")).request_id == "a"
        assert kernel.find_work(kernel.fingerprint(b"late")).request_id == "b"
        assert kernel.kept_reply(kernel.fingerprint(b"request")).body == b"{}"
    assert store.find_work(work).request_id == "a"
    assert store.kept_reply(key).body == b"{}"


def test_what_was_asked_before_the_file_could_be_read_is_found_before_it_is_written(bench, locked):
    """Another program still writes, while all may read."""
    store = bench.open()
    store.submitted(queued("a", work=store.fingerprint(b"work")))
    store.keep_reply(store.fingerprint(b"request"), b"{}")
    locked()
    bench.open().entries()  # makes the file, where it is new
    holder = sqlite3.connect(bench.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert store.find_work(store.fingerprint(b"work")).request_id == "a"
    assert store.kept_reply(store.fingerprint(b"request")).body == b"{}"
    holder.close()


def test_fingerprints_are_those_of_a_file_that_was_made_again(bench):
    """The new file has a key of its own."""
    store = bench.open()
    store.submitted(queued("a", work=store.fingerprint(b"work")))
    shutil.rmtree(bench.path.parent)
    store.submitted(queued("b", work=store.fingerprint(b"work")))
    other = bench.open()
    assert other.find_work(other.fingerprint(b"work")).request_id == "b"


def test_a_file_deleted_under_a_running_kernel_is_made_again(bench):
    """Else what follows would go into a file without a name."""
    store = bench.open()
    store.submitted(queued("a"))
    shutil.rmtree(bench.path.parent)
    store.submitted(queued("b"))
    assert [entry.request_id for entry in bench.open().entries()] == ["b"]
    assert bench.warned == []


def test_where_the_log_of_sqlite_cannot_be_shared_the_rollback_journal_does(bench):
    """As on some network file systems: here the shared index cannot be made."""
    bench.path.parent.mkdir()
    bench.path.with_name("jobs.sqlite3-shm").mkdir()
    store = bench.open()
    remembers_in_memory(store)
    assert bench.warned == []
    store.close()
    assert outside(bench.path, "PRAGMA journal_mode") == [("delete",)]
    assert bench.open().find("a").raw == BODY


def test_readers_need_not_wait_for_a_writer(bench):
    """The write-ahead log gives them what was there before it."""
    store = bench.open()
    store.submitted(queued())
    assert outside(bench.path, "PRAGMA journal_mode") == [("wal",)]
    holder = sqlite3.connect(bench.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert store.find("a") is not None
    assert len(store.entries()) == 1
    holder.close()
    assert bench.warned == []


def test_a_warning_of_its_own_accord(bench):
    """Without a `warn`, it is a Python warning."""
    bench.path.parent.write_text("in the way")
    store = Journal(bench.path)
    with pytest.warns(UserWarning, match="journal of jobs"):
        store.entries()
    store.close()


def test_a_warning_reads_as_one_sentence(bench):
    """On one line, and without a line of code: it comes from a thread, mostly."""
    bench.path.parent.write_text("in the way")
    code = (
        "import sys; from pathlib import Path; from segmind_jupyter.api.journal import Journal\n"
        "Journal(Path(sys.argv[1])).entries()"
    )
    command = [sys.executable, "-c", code, str(bench.path)]
    told = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr
    start, _, sentence = told.partition("UserWarning: ")
    assert start == "segmind_jupyter:1: "
    assert sentence.startswith("The journal of jobs ")
    assert sentence.endswith(" to another folder.\n")
    assert sentence.count("\n") == 1


def test_a_warning_that_would_raise_is_logged(bench, caplog):
    """Under `-W error` a job must go on all the same."""
    bench.path.parent.write_text("in the way")
    store = Journal(bench.path, retry_s=3600.0)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        remembers_in_memory(store)
    store.close()
    assert len([r for r in caplog.records if "journal of jobs" in r.getMessage()]) == 1


# Whatever happens -----------------------------------------------------------------------------

STATES = ("QUEUED", "COMPLETED", "EXPIRED", "FAILED")
SHORT = st.none() | st.sampled_from(["x", "y"])
ACCOUNTS = st.builds(
    JobRecord,
    request_id=st.just("a"),
    origin=st.sampled_from(["", "o", "p"]),
    model=SHORT,
    submitted_at=st.none() | st.sampled_from([1.0, 2.0]),
    state=st.sampled_from([*STATES, "PAUSED"]),
    ended_at=st.none() | st.sampled_from([3.0, 4.0]),
    raw=SHORT,
    error=SHORT,
    work=SHORT,
)


@given(ACCOUNTS, ACCOUNTS, ACCOUNTS)
def test_accounts_of_a_job_may_be_joined_in_any_grouping_and_again(a, b, c):
    """So what waited in memory may be told to the file late, and more than once."""
    assert joined(joined(a, b), c) == joined(a, joined(b, c))
    assert joined(joined(a, b), b) == joined(a, b)
    assert joined(a, a) == joined(a, None) == joined(None, a) == a


#: From the least to the most that can be known of a job's end.
FINALITY = [("QUEUED", False), ("COMPLETED", False), ("EXPIRED", False), ("FAILED", False)]
FINALITY += [("COMPLETED", True)]
NAMES = st.sampled_from(["a", "b", "c", "d"])


class JournalMachine(RuleBasedStateMachine):
    """A store and a dict are told the same; the file is taken away and comes back."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name) / "jobs.sqlite3")
        self.store = self.bench.open()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.away = self.bench.path.with_name("away")

    @property
    def usable(self) -> bool:
        return not self.away.exists()

    def job(self, name: str) -> dict[str, Any]:
        new = {"state": "QUEUED", "raw": None, "noted": self.bench.now, "touched": 0.0}
        return self.jobs.setdefault(name, {**new, "model": None, "work": None})

    @rule(name=NAMES, model=SHORT, work=SHORT)
    def submit(self, name: str, model: str | None, work: str | None) -> None:
        job = self.job(name)
        job["model"] = job["model"] or model
        job["work"] = job["work"] or work
        self.store.submitted(queued(name, submitted_at=None, model=model, work=work))

    @rule(name=NAMES, state=st.sampled_from(STATES[1:]), raw=SHORT)
    def end(self, name: str, state: str, raw: str | None) -> None:
        raw = raw if state == "COMPLETED" else None
        job = self.job(name)
        told, known = (state, raw is not None), (job["state"], job["raw"] is not None)
        if FINALITY.index(told) > FINALITY.index(known):
            job.update(state=state, raw=raw, touched=self.bench.now)
        self.store.ended(name, state=state, raw=raw)

    @rule(days=st.integers(1, 5))
    def wait(self, days: int) -> None:
        self.bench.now += days * DAY_S

    @precondition(lambda self: self.usable)
    @rule(days=st.integers(1, 30))
    def prune(self, days: int) -> None:
        old = self.forget(days)
        assert self.store.prune(max_age_s=days * DAY_S) == old

    def forget(self, days: int) -> int:
        before = self.bench.now - days * DAY_S
        old = [n for n, job in self.jobs.items() if max(job["noted"], job["touched"]) < before]
        for name in old:
            del self.jobs[name]
        return len(old)

    @precondition(lambda self: self.usable)
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.bench.open()
        self.store.entries()
        self.forget(30)

    @precondition(lambda self: self.usable and self.bench.path.exists())
    @rule()
    def take_the_file_away(self) -> None:
        self.bench.path.rename(self.away)
        self.bench.path.mkdir()
        self.store.entries()

    @precondition(lambda self: not self.usable)
    @rule()
    def bring_it_back(self) -> None:
        self.bench.path.rmdir()
        self.away.rename(self.bench.path)

    @invariant()
    def knows_what_the_dict_knows(self) -> None:
        if not self.usable:
            return
        names = {entry.request_id for entry in self.store.entries()}
        assert names == set(self.jobs)
        for name, job in self.jobs.items():
            found = self.store.find(name)
            assert found is not None
            assert (found.state, found.raw, found.model, found.work, found.noted_at) == tuple(
                job[field] for field in ("state", "raw", "model", "work", "noted")
            )

    @invariant()
    def finds_answered_work(self) -> None:
        if self.usable:
            for work in ("x", "y"):
                found = self.store.find_work(work)
                assert (found is not None and found.answered) == any(
                    job["work"] == work and job["raw"] is not None for job in self.jobs.values()
                )

    def teardown(self) -> None:
        self.bench.close()
        self.folder.cleanup()


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(stateful_step_count=30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
def test_a_fork_waits_until_sqlite_is_not_at_work(tmp_path):
    """A child that is forked in the midst of it would wait for ever at its first use."""
    code = f"""
        import os, pathlib, threading, warnings
        from segmind_jupyter.api.journal import JournalFile
        warnings.simplefilter("ignore", DeprecationWarning)
        path = pathlib.Path({str(tmp_path / "jobs.sqlite3")!r})
        entered, leave, ended = threading.Event(), threading.Event(), []

        def query(connection):
            entered.set()
            leave.wait(30)
            ended.append(True)

        reading = threading.Thread(target=lambda: JournalFile(path).read(query, busy_s=1))
        reading.start()
        entered.wait()
        threading.Timer(0.2, leave.set).start()
        child = os.fork()
        if child == 0:
            usable = JournalFile(path).read(lambda connection: True, busy_s=1)
            os._exit(0 if ended and usable else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n", "")
