"""Whatever goes wrong on the way, no job is paid for twice, and no reply that was paid for is lost.

A state machine submits, waits, kills kernels and resumes, while the way to the simulated gateway
drops, delays, repeats, refuses and lies at every step, on a clock that leaps.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from segmind_jupyter.errors import JobFailed, SegmindError

PAGE = "<!doctype html><title>Welcome to the hotel</title>"

STATUSES = st.sampled_from([429, 500, 502, 503, 504])
HEADERS = st.sampled_from([{}, {"Retry-After": "2"}, {"Retry-After": "soon"}])
NO_FAULT: st.SearchStrategy[dict[str, Any]] = st.just({})

#: No answer, a late one, or one of somebody in between.
LOST = st.sampled_from([{"drop": "before_work"}, {"drop": "after_work"}])
LATE = st.builds(lambda s: {"delay_s": s}, st.sampled_from([0.3, 5.0, 40.0, 400.0]))
REFUSED = st.builds(lambda s, h: {"status": s, "headers": h}, STATUSES, HEADERS)
HIDDEN = st.builds(lambda s: {"status": s, "after_work": True}, st.sampled_from([500, 502, 504]))
NONSENSE = st.builds(
    lambda body: {"status": 200, "body": body, "after_work": True},
    st.sampled_from([PAGE, '{"request_id": "2c7', "[]", "", '"moved"', {}, {"status": None}]),
)


def without(name: str) -> dict[str, Any]:
    """Drop a key from the real answer."""
    return {"change": lambda body: {k: v for k, v in body.items() if k != name}}


def saying(**fields: Any) -> dict[str, Any]:
    """Put lies into the real answer, unless it is a result: that is the model's own."""
    return {"change": lambda body: body if "output" in body else {**body, **fields}}


ELSEWHERE = {f"{n}_url": "https://elsewhere.example/v2" for n in ("poll", "status", "response")}

POST_LIES = st.sampled_from(
    [
        without("request_id"),
        saying(request_id="../../v1/claude-4-sonnet"),
        saying(request_id=None),
        saying(status="COMPLETED"),
        saying(**ELSEWHERE),
    ]
)
GET_LIES = st.sampled_from(
    [
        without("status"),
        without("request_id"),
        without("metrics"),
        saying(status="QUEUED"),  # a stale answer
        saying(status="PROCESSING"),
        saying(status="COMPLETED"),  # before it has
        saying(status="PAUSED"),
        saying(**ELSEWHERE),
        {"status": 200, "body": {"status": "PROCESSING"}},  # also in place of the result
        {"status": 404},
        {"status": 401},
        *({"status": status, "body": PAGE} for status in (302, 400, 401, 403, 406, 407)),
        *({"status": status} for status in (400, 403, 406)),
        {"status": 403, "body": ""},
    ]
)
POST_FAULTS = NO_FAULT | LOST | LATE | REFUSED | HIDDEN | NONSENSE | POST_LIES
GET_FAULTS = NO_FAULT | LOST | LATE | REFUSED | NONSENSE | GET_LIES


def works(fault: dict[str, Any]) -> bool:
    """Tell whether the gateway carries a request out under this fault."""
    made_up = "status" in fault and not fault.get("after_work")
    return not made_up and fault.get("drop") != "before_work"


class Unreliable(RuleBasedStateMachine):
    """Jobs of several kernels, one after the other, on one journal."""

    submitted = Bundle("submitted")

    def __init__(self, make_world: Any) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = make_world(self.folder / "jobs.sqlite3")
        #: By id, the text or the failure that each job is to give in the end.
        self.told: dict[str, str] = {}
        self.jobs: list[Any] = []
        #: The jobs that ended with a reply which the journal did not have at that moment.
        self.unkept: list[Any] = []
        self.calls = 0

    @initialize(target=submitted, work_s=st.sampled_from([0.0, 0.7, 9.0, 90.0]), lies=st.booleans())
    def begin(self, work_s: float, lies: bool) -> Any:
        self.world.set(work_s=work_s, result_life_s=1e9)
        self.world.gateway.poll_host = "elsewhere.example" if lies else None
        return self.submit(faults=[], fails=False)

    @rule(
        target=submitted,
        faults=st.lists(POST_FAULTS, max_size=3),
        fails=st.sampled_from([False, False, True]),
    )
    def submit(self, faults: list[dict[str, Any]], fails: bool) -> Any:
        """Submit a job on a bad way: it is begun at most once, and billed at most once."""
        self.calls += 1
        outcome = f"outcome {self.calls}"
        billed, sent = self.world.gateway.billed, len(self.world.sent("POST"))
        self.world.gateway.clear_script()
        for fault in faults:
            self.world.gateway.script("POST", **fault)
        try:
            job = self.world.submit(f"{'fail' if fails else 'echo'}: {outcome}", timeout_s=300.0)
        except SegmindError:
            job = None
        sent = len(self.world.sent("POST")) - sent
        met = (faults + [{}] * sent)[:sent]
        assert sum(works(fault) for fault in met) <= 1
        assert self.world.gateway.billed - billed <= (0 if fails else 1)
        self.world.gateway.clear_script()
        if job is None:
            return multiple()
        self.told[job.request_id] = outcome
        self._follow(job)
        return job.request_id

    @rule(faults=st.lists(GET_FAULTS, min_size=1, max_size=12))
    def have_trouble(self, faults: list[dict[str, Any]]) -> None:
        """Let the next reads meet faults."""
        for fault in faults:
            self.world.gateway.script("GET", **fault)

    @rule(fault=GET_FAULTS, seconds=st.sampled_from([3.0, 60.0, 600.0]))
    def have_lasting_trouble(self, fault: dict[str, Any], seconds: float) -> None:
        """Let all reads meet one fault for a while: a network that is away, a page in between."""
        self.world.gateway.script("GET", times=10_000, **fault)
        self._wait(seconds)
        self.world.gateway.clear_script()

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 100.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._wait(seconds)

    @rule()
    def die(self) -> None:
        """Kill the kernel at this very moment; the next one has nothing but the journal."""
        self.world.run(self.world.loop.abandon())
        assert all(job.done() for job in self.jobs), "somebody waits for ever"
        self.world.journal.close()
        self.world.start_kernel()
        assert all(self.world.journal.find(request_id) for request_id in self.told)
        self.jobs.clear()

    @rule(request_id=submitted)
    def resume(self, request_id: str) -> None:
        """Take a job up again, unless it is being followed."""
        if not any(job.request_id == request_id and not job.done() for job in self.jobs):
            self._follow(self.world.resume(request_id))

    @rule(request_id=submitted, again=st.booleans())
    def stop(self, request_id: str, again: bool) -> None:
        """Stop watching a job, and perhaps take it up again while an answer is on its way."""
        for job in self.jobs:
            if job.request_id == request_id:
                job.cancel()
        if again:
            self.resume(request_id)

    @precondition(lambda self: self.told)
    @rule()
    def look(self) -> None:
        """Replies that the journal has are readable at any time, with no request for them."""
        sent = len(self.world.requests)  # meanwhile other jobs may be asked for
        kept = [entry.request_id for entry in self.world.journal.entries() if entry.answered]
        for request_id in kept:
            assert self.world.resume(request_id).reply.text == self.told[request_id]
        meanwhile = self.world.requests[sent:]
        assert all(request.method == "GET" for request in meanwhile)
        asked_for = "".join(request.url.path for request in meanwhile)
        assert not any(request_id in asked_for for request_id in kept)

    def teardown(self) -> None:
        """Kill the kernel for the last time; over a way that works the next one gets it all."""
        try:
            self.world.gateway.clear_script()
            posts = len(self.world.sent("POST"))
            self.die()
            for request_id, outcome in self.told.items():
                self._gives(request_id, outcome)
            delivered = Counter(request_id for request_id, _ in self.world.delivered)
            assert not self.unkept
            assert all(count == 1 for count in delivered.values())
            assert all(self.told[name] == text for name, text in self.world.delivered)
            assert len(self.world.sent("POST")) == posts
            assert {r.url.host for r in self.world.requests} <= {"api.example"}
        finally:
            self.world.end()
            shutil.rmtree(self.folder)

    def _gives(self, request_id: str, outcome: str) -> None:
        """Resume a job to its end: the outcome was delivered, or is now, or has been kept."""
        job = self.world.resume(request_id)
        if not job.done():
            self.world.follow(job)
        if isinstance(job.error, JobFailed):
            assert outcome in str(job.error)
        else:
            assert job.reply.text == outcome
            assert self.world.journal.find(request_id).answered

    def _follow(self, job: Any) -> None:
        self.jobs.append(job)
        job.on_done(self._check_kept)
        if not job.done():
            self.world.loop.create_task(self.world.watch.follow(job))

    def _check_kept(self, job: Any) -> None:
        if job.error is None and not self.world.journal.find(job.request_id).answered:
            self.unkept.append(job)

    def _wait(self, seconds: float) -> None:
        self.world.run(anyio.sleep(seconds))


@pytest.mark.hypothesis
def test_whatever_happens_nothing_is_paid_twice_and_no_reply_is_lost(make_world):
    """Over many stories of faults; see the rules above."""
    run_state_machine_as_test(
        lambda: Unreliable(make_world),
        settings=settings(
            stateful_step_count=20,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        ),
    )
