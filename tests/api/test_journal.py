"""The journal: what it remembers, with whom it shares its file, and what it does without one."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from segmind_jupyter.api.database import CallRecord, JobRecord, transaction
from segmind_jupyter.api.journal import LEASE_S, Journal, default_path, why_unusable
from segmind_jupyter.errors import SettingsError

#: Before the real time, at which the processes below write: they must not find old jobs.
NOW = 1_700_000_000.0
DAY_S = 24 * 3600.0
BODY = '{"status": "COMPLETED", "output": "{}"}'
ORIGIN = "https://api.segmind.com"

needs_posix = pytest.mark.skipif(os.name != "posix", reason="modes, fork and signals of POSIX")


def queued(request_id: str = "a", **fields: Any) -> JobRecord:
    known = {"origin": ORIGIN, "model": "claude-4-sonnet", "submitted_at": NOW}
    return JobRecord(request_id=request_id, state="QUEUED", **{**known, **fields})


@dataclasses.dataclass
class Bench:
    """Journals over one file, on one clock; what they warned of."""

    path: Path
    now: float = NOW
    warned: list[str] = dataclasses.field(default_factory=list)
    opened: list[Journal] = dataclasses.field(default_factory=list)

    def open(self, **kwargs: Any) -> Journal:
        kwargs = {"path": self.path, "busy_s": 0.1, **kwargs}
        journal = Journal(clock=lambda: self.now, warn=self.warned.append, **kwargs)
        self.opened.append(journal)
        return journal

    def close(self) -> None:
        while self.opened:
            self.opened.pop().close()


@pytest.fixture
def bench(tmp_path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "state" / "jobs.sqlite3")
    yield bench
    bench.close()


@pytest.fixture(params=["file", "memory"])
def journal(request, bench) -> Journal:
    """A journal over a file, and one with the file turned off."""
    return bench.open(path=bench.path if request.param == "file" else None)


def outside(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement as another program would."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def start(code: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


# What it remembers ----------------------------------------------------------------------------


def test_equal_work_is_found_answered_first_then_pending_and_not_where_it_came_to_nothing(journal):
    """What was answered need not be asked again; what is pending is waited for."""
    for state in ("FAILED", "EXPIRED"):
        journal.submitted(queued(state, work="w"))
        journal.ended(state, state=state)
    assert journal.find_work("w") is None
    journal.submitted(queued("pending", work="w", submitted_at=NOW))
    assert journal.find_work("w").request_id == "pending"
    for age_s, name in enumerate(["newer", "older"]):
        journal.submitted(queued(name, work="w", submitted_at=NOW - 10 - age_s))
        journal.ended(name, state="COMPLETED", raw=name)
    assert journal.find_work("w").raw == "newer"
    assert journal.find_work("x") is None


def test_accounts_of_a_job_are_joined_whatever_comes_first(journal, bench):
    """A known job gains what it lacks; a reply in hand outlives what is said later."""
    journal.ended("a", state="EXPIRED")
    for state, error in [("FAILED", "no"), ("EXPIRED", None)]:
        journal.ended("a", state=state, error=error)
        assert (journal.find("a").state, journal.find("a").error) == ("FAILED", "no")
    bench.now += 60
    for work in ("w", "x"):
        journal.submitted(queued("a", work=work, place="here"))
    journal.ended("a", state="COMPLETED", raw=BODY, seconds=2.0)
    journal.ended("a", state="FAILED", error="no")
    known = journal.find("a")
    assert (known.state, known.raw, known.seconds, known.error) == ("COMPLETED", BODY, 2.0, None)
    assert (known.work, known.place, known.noted_at, known.submitted_at) == ("w", "here", NOW, NOW)


def test_any_reply_comes_back_as_it_was(journal):
    """JSON may hold half characters, and SQLite's text may not."""
    for n, text in enumerate(["\ud800 half", "nul \0 inside", "日本語 🎈", "x" * 3_000_000]):
        journal.ended(f"{n}", state="COMPLETED", raw=text)
        journal.ended(f"{n} failed", state="FAILED", error=text)
        assert journal.find(f"{n}").raw == text
        assert journal.find(f"{n} failed").error == text.replace("\ud800", "?")


def test_the_first_write_of_a_kernel_forgets_jobs_to_which_nothing_happened_for_a_month(bench):
    """Looking does not write; cached replies stay: who runs a notebook once a year pays once."""
    journal = bench.open()
    for name in ("old", "ended today"):
        journal.submitted(queued(name))
    journal.submitted(queued("elsewhere", submitted_at=None))
    journal.keep_reply("k", b"{}")
    bench.now = NOW + 31 * DAY_S
    journal.ended("ended today", state="COMPLETED", raw=BODY)
    journal = bench.open()
    assert len(journal.entries()) == 3
    journal.submitted(queued("new", submitted_at=bench.now))
    assert [record.request_id for record in journal.entries()] == ["new", "ended today"]
    assert journal.kept_reply("k") is not None


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
    memory = bench.open(path=None)
    assert memory.fingerprint(b"x") == memory.fingerprint(b"x") != memory.fingerprint(b"y")


# What is being sent ---------------------------------------------------------------------------


def test_what_is_claimed_is_claimed_once_until_its_job_is_there(bench):
    """Two kernels with one batch: the second waits, and then has the job of the first."""
    first, second = bench.open(), bench.open()
    assert first.claim("w").state == "ours"
    assert second.claim("w").state == first.claim("w").state == "theirs"
    assert second.claim("other").state == "ours"
    first.submitted(queued(work="w"))
    assert second.claim("w").job.request_id == "a"
    first.ended("a", state="COMPLETED", raw=BODY)
    assert second.claim("w").job.raw == BODY
    assert outside(bench.path, "SELECT work FROM sends") == [("other",)]
    second.release("other")
    assert first.claim("other").state == "ours"


def test_a_claim_that_nobody_holds_up_is_lost_until_it_is_claimed_anew(bench):
    """A process that says every few seconds that it is there holds it, however long that takes."""
    first, second = bench.open(), bench.open()
    first.claim("w")
    for _ in range(10):
        bench.now += LEASE_S / 2
        first.beat("w")
        assert second.claim("w").state == "theirs"
    claimed_at, bench.now = NOW, bench.now + LEASE_S + 1
    for _ in range(2):
        claim = second.claim("w")
        assert (claim.state, claim.at) == ("lost", claimed_at)
    assert second.claim("w", anew=True).state == "ours"
    assert first.claim("w").state == "theirs"
    second.submitted(queued(work="w"))
    assert first.claim("w").state == "known"


# The replies that it caches -------------------------------------------------------------------


def test_beyond_the_bound_the_oldest_reply_goes(bench):
    """Looking at one writes nothing: a file under version control stays as it is."""
    journal = bench.open(max_reply_bytes=30)
    for name in "abcd":
        journal.keep_reply(name, b"0123456789")
        bench.now += 1
    assert [name for name in "abcd" if journal.kept_reply(name)] == ["b", "c", "d"]
    assert journal.kept_replies() == (3, 30, NOW + 1)
    bench.close()
    before = bench.path.read_bytes()
    assert bench.open().kept_reply("b") == (b"0123456789", NOW + 1)
    bench.close()
    assert bench.path.read_bytes() == before


def test_what_is_cleared_is_gone_from_the_disk(bench):
    """SQLite itself would leave the words in free pages; jobs stay."""
    journal = bench.open()
    journal.ended("a", state="COMPLETED", raw=BODY)
    journal.keep_reply("k", b"a very private reply" * 500)
    journal.keep_reply("l", b"another")
    assert [journal.clear_replies(), journal.clear_replies()] == [2, 0]
    assert journal.kept_reply("k") is None
    assert journal.find("a").raw == BODY
    files = list(bench.path.parent.iterdir())
    assert bench.path in files
    assert not any(b"private" in file.read_bytes() for file in files)


def test_a_copy_of_the_file_alone_or_of_its_folder_has_the_reply_at_once(bench, tmp_path):
    """Also while a kernel has it open, or after one was killed."""
    bench.open().keep_reply("k", b"{}")
    copied = shutil.copy(bench.path, tmp_path / "copy.sqlite3")
    assert bench.open(path=Path(copied)).kept_reply("k") == (b"{}", NOW)
    shutil.copytree(bench.path.parent, tmp_path / "elsewhere")
    folder = bench.open(path=tmp_path / "elsewhere" / bench.path.name)
    assert folder.kept_reply("k") == (b"{}", NOW)
    folder.keep_reply("l", b"{}")
    assert bench.warned == []


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
def test_a_read_only_checkout_gives_its_replies_and_warns_once_of_what_it_does_not_take(
    bench, frozen
):
    """In CI nothing may be writable; reading is no reason to warn, and clearing says it cannot."""
    bench.open().keep_reply("k", b"{}")
    key = bench.opened[0].fingerprint(b"x")
    bench.close()
    frozen()
    journal = bench.open()
    assert journal.fingerprint(b"x") == key
    assert journal.kept_reply("k") == (b"{}", NOW)
    assert bench.warned == []
    assert [file.name for file in bench.path.parent.iterdir()] == ["jobs.sqlite3"]
    journal.keep_reply("l", b"[]")
    journal.submitted(queued())
    assert [journal.kept_reply(name)[0] for name in "kl"] == [b"{}", b"[]"]
    assert journal.find("a") is not None
    assert len(bench.warned) == 1
    assert journal.clear_replies() is None


@needs_posix
def test_whoever_may_only_read_sees_what_another_kernel_writes(bench, frozen):
    """Also what is not in the file itself yet, and what has left that place since."""
    owner = bench.open()
    owner.keep_reply("k", b"{}")
    frozen()
    reader = bench.open()
    assert reader.kept_reply("k") == (b"{}", NOW)
    owner.keep_reply("l", b"[]" * 10_000)
    owner._tidy("PRAGMA wal_checkpoint(TRUNCATE)")
    assert reader.kept_reply("l") is not None
    assert bench.warned == []


# Where it is ----------------------------------------------------------------------------------


def test_the_environment_names_the_folder(tmp_path):
    """`SEGMIND_JUPYTER_STATE`; else the platform's folder for state."""
    named = default_path({"SEGMIND_JUPYTER_STATE": str(tmp_path)})
    assert named == tmp_path / "jobs.sqlite3"
    assert default_path({"SEGMIND_JUPYTER_STATE": "~/x"}) == Path.home() / "x" / "jobs.sqlite3"
    usual = default_path({"SEGMIND_JUPYTER_STATE": " "})
    assert usual == default_path({})
    assert (usual.name, usual.parent.name) == ("jobs.sqlite3", "segmind_jupyter")


def test_nothing_is_made_before_the_first_use_and_a_change_of_directory_does_not_move_it(
    bench, tmp_path, monkeypatch
):
    """A notebook without jobs leaves no file behind; `%cd` is common."""
    bench.open().close()
    assert not bench.path.parent.exists()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    journal = bench.open(path=Path("jobs.sqlite3"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    journal.submitted(queued())
    assert (tmp_path / "jobs.sqlite3").exists()


def modes(path: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in [path, *path.iterdir()]}


@needs_posix
def test_only_its_owner_can_read_it_whatever_the_umask_and_whoever_made_it(bench):
    """Folder 0700, files 0600; a folder that was there before stays as its owner made it."""
    files = dict.fromkeys(["jobs.sqlite3", "jobs.sqlite3-wal", "jobs.sqlite3-shm"], 0o600)
    before = os.umask(0)
    try:
        bench.open().submitted(queued())
    finally:
        os.umask(before)
    assert modes(bench.path.parent) == {"state": 0o700, **files}
    for file in bench.path.parent.iterdir():
        file.chmod(0o644)
    bench.path.parent.chmod(0o755)
    bench.open().entries()
    assert modes(bench.path.parent) == {"state": 0o755, **files}


@needs_posix
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_symbolic_link_is_refused(bench, tmp_path, suffix):
    """Somebody else's file keeps its mode and its bytes."""
    target = tmp_path / "foreign"
    target.write_bytes(b"mine")
    target.chmod(0o644)
    bench.path.parent.mkdir()
    bench.path.with_name(bench.path.name + suffix).symlink_to(target)
    journal = bench.open()
    journal.submitted(queued())
    assert journal.find("a") is not None
    assert "symbolic link" in bench.warned[0]
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"mine", 0o644)


# With whom it is shared -----------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from segmind_jupyter.api.journal import Journal; from segmind_jupyter.api.database import JobRecord
known = {"origin": "o", "model": "m", "submitted_at": None, "state": "QUEUED"}
for n in range(100):
    print("ready", flush=True)
    sys.stdin.readline()
    journal = Journal(Path(sys.argv[1]) / f"{n % 20}.sqlite3", warn=sys.exit)
    name = f"{sys.argv[2]}-{n}"
    journal.submitted(JobRecord(request_id=name, **known))
    journal.ended(name, state="COMPLETED", raw=f"reply {name}")
    journal.keep_reply(name, b"{}")
    journal.close()
"""


def test_processes_that_make_and_write_files_at_the_same_moment_lose_nothing(tmp_path, bench):
    """Run All in two notebooks on a new machine: neither takes the other's half-made file ill."""
    kernels = [start(WRITER, tmp_path, name) for name in ("one", "two")]
    for _ in range(100):
        assert [kernel.stdout.readline() for kernel in kernels] == ["ready\n", "ready\n"]
        for kernel in kernels:
            kernel.stdin.write("go\n")
            kernel.stdin.flush()
    assert [kernel.communicate(timeout=120)[1] for kernel in kernels] == ["", ""]
    for n in range(20):
        made = bench.open(path=tmp_path / f"{n}.sqlite3")
        names = {record.request_id for record in made.entries()}
        assert names == {f"{k}-{m}" for k in ("one", "two") for m in range(n, 100, 20)}
        assert all(made.find(name).raw == f"reply {name}" for name in names)
        assert made.kept_replies()[0] == 10
        made.close()


FORKED = """
import os, sys, threading, warnings
from pathlib import Path
from segmind_jupyter.api.journal import Journal
path = Path(sys.argv[1])
journal = Journal(path, warn=sys.exit)
journal.ended("before", state="COMPLETED", raw="1")
warnings.simplefilter("ignore")  # of forking with threads, which is the point
entered, leave = threading.Event(), threading.Event()
def query(db):
    entered.set()
    leave.wait(30)
thread = threading.Thread(target=journal._run, args=[query])
thread.start()
entered.wait()
threading.Timer(0.2, leave.set).start()
child = os.fork()
if not child:
    own = Journal(path, warn=sys.exit)
    own.ended("child", state="COMPLETED", raw=own.find("before").raw)
    own.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
journal.ended("after", state="COMPLETED", raw=journal.find("child").raw)
seen = sorted(record.request_id for record in journal.entries())
journal.close()
print(status, *seen)
"""


@needs_posix
def test_a_forked_child_waits_for_no_thread_that_it_lacks(bench):
    """A fork waits until SQLite is not at work; the child has a journal of its own."""
    forked = start(FORKED, bench.path)
    out, err = forked.communicate(timeout=60)
    assert (out, err, forked.returncode) == ("0 after before child\n", "", 0)
    assert outside(bench.path, "PRAGMA integrity_check") == [("ok",)]
    assert bench.open().find("after").raw == "1"


def test_an_interrupted_transaction_leaves_nothing_behind():
    """A KeyboardInterrupt may come at any moment on the main thread."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE t (x)")

    def interrupted() -> None:
        with transaction(db):
            db.execute("INSERT INTO t VALUES (1)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with transaction(db):
        assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)
    db.close()


# What it does without a file ------------------------------------------------------------------


def remembers_in_memory(journal: Journal) -> None:
    """Go through what a job needs of a journal; what would be claimed is refused."""
    journal.submitted(queued("a", work="w"))
    assert journal.find_work("w").request_id == "a"
    journal.ended("a", state="COMPLETED", raw=BODY, seconds=2.0)
    assert journal.find("a").raw == journal.find_work("w").raw == BODY
    assert [record.kept for record in journal.entries() if record.request_id == "a"] == [True]
    assert 2.0 in journal.durations(ORIGIN, "claude-4-sonnet")
    assert journal.fingerprint(b"x") == journal.fingerprint(b"x")
    journal.keep_reply("k", b"{}")
    assert journal.kept_reply("k") == (b"{}", NOW)
    journal.keep_turn("c", "1", b"{}")
    assert journal.kept_turns("c") == [("1", b"{}")]
    journal.set_daily_budget(1.0)
    assert journal.reserve("1", ORIGIN, cost=0.6, most=0.8, since=0.0) == (1.0, 0.0)
    journal.record_call(CallRecord(at=NOW, origin=ORIGIN, model="m", cost=0.5), settles="1")
    assert journal.spent(ORIGIN, since=0.0) == 0.5
    assert journal.claim("w").state == "known"
    for anew in (False, True):
        with pytest.raises(SettingsError, match=r"not sent.*journal = False"):
            journal.claim("other", anew=anew)


def made(path: Path, statement: str = "SELECT 1") -> bytes:
    Journal(path).set_daily_budget(None)
    outside(path, statement)
    return path.read_bytes()


TROUBLES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no SQLite file": (lambda path: path.write_bytes(b"no database. " * 100), "not a database"),
    "cut short": (lambda path: path.write_bytes(made(path)[:5000]), "malformed"),
    "damaged header": (
        lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 84 + made(path)[100:]),
        "not a database",
    ),
    "a folder in its place": (lambda path: path.mkdir(), "unable to open"),
    "another program's": (
        lambda path: outside(path, "CREATE TABLE bookmarks (url TEXT)"),
        "belongs to another program",
    ),
    "another version's": (
        lambda path: made(path, "PRAGMA user_version = 99"),
        "another version of segmind-jupyter",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_file_that_cannot_be_used_warns_once_and_jobs_go_on(bench, trouble):
    """One sentence says which file, why, and what to do; the file is left as it is."""
    spoil, reason = TROUBLES[trouble]
    bench.path.parent.mkdir()
    spoil(bench.path)
    bench.path.chmod(0o755)
    before = bench.path.read_bytes() if bench.path.is_file() else None
    journal = bench.open()
    remembers_in_memory(journal)
    (sentence,) = bench.warned
    assert all(part in sentence for part in (str(bench.path), reason, "SEGMIND_JUPYTER_STATE"))
    assert reason in (why_unusable(bench.path) or "")
    journal.close()
    assert (bench.path.read_bytes() if bench.path.is_file() else None) == before
    if trouble in ("another program's", "a folder in its place"):
        assert stat.S_IMODE(bench.path.stat().st_mode) == 0o755


@needs_posix
def test_a_disk_that_is_full(bench):
    """Nothing larger can be written: memory has the reply, with all that the file had."""
    import resource

    journal = bench.open()
    journal.ended("earlier", state="COMPLETED", raw=BODY)
    journal.set_daily_budget(1.0)
    journal.submitted(queued("a", work="w"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, limits[1]))
    try:
        journal.ended("a", state="COMPLETED", raw="x" * 1_000_000)
        assert len(journal.find_work("w").raw) == 1_000_000
        assert journal.find("earlier").raw == BODY
        assert journal.daily_budget() == 1.0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert bench.open().find("a").pending
    assert len(bench.warned) == 1


@pytest.mark.parametrize("used", [False, True])
def test_a_locked_file_is_left_to_whoever_holds_it(bench, used):
    """With one warning; only the first call waits. What is there can be read where WAL lets one."""
    if used:
        bench.open().submitted(queued("before", submitted_at=NOW - 1000))
    else:
        bench.path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(bench.path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        journal = bench.open()
        remembers_in_memory(journal)
        assert (journal.find("before") is not None) is used
        assert "locked" in bench.warned.pop()
        assert bench.warned == []
        holder.rollback()
    journal.close()
    journal.submitted(queued("b"))
    assert bench.open().find("b") is not None


def test_a_file_deleted_under_a_running_kernel_is_made_again(bench):
    """Else what follows would go into a file without a name."""
    journal = bench.open()
    journal.submitted(queued("a"))
    shutil.rmtree(bench.path.parent)
    journal.submitted(queued("b"))
    assert [record.request_id for record in bench.open().entries()] == ["b"]
    assert bench.warned == []


def test_where_the_log_of_sqlite_cannot_be_shared_the_rollback_journal_does(bench):
    """As on some network file systems: here the shared index cannot be made."""
    bench.path.parent.mkdir()
    bench.path.with_name("jobs.sqlite3-shm").mkdir()
    journal = bench.open()
    journal.ended("a", state="COMPLETED", raw=BODY)
    assert journal.claim("w").state == "ours"
    assert bench.warned == []
    journal.close()
    assert outside(bench.path, "PRAGMA journal_mode") == [("delete",)]
    assert bench.open().find("a").raw == BODY


def test_a_warning_is_logged_where_it_would_raise(bench, caplog):
    """It comes from a thread, mostly, where nobody could catch it."""
    bench.path.parent.write_text("in the way")
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        Journal(bench.path).entries()
    assert len([r for r in caplog.records if "journal of jobs" in r.getMessage()]) == 1
