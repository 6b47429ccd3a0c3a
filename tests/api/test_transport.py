"""Whose turn it is, what a gateway's limits make of it, and the matrix of faults on the way."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest

from segmind_jupyter.api.retry import RateLimiter
from segmind_jupyter.api.transport import proxy_for
from segmind_jupyter.errors import MaybeBilledError, RateLimitError, SegmindError

Virtual = Callable[..., tuple[Any, float]]


class TestRateLimiter:
    def test_a_refusal_pauses_everybody_until_the_moment_that_the_server_names(
        self, virtual: Virtual
    ):
        """Chats, submits and looks alike; the latest moment counts, and it can be shown."""

        async def main() -> list[float]:
            limiter, went_s = RateLimiter(clock=anyio.current_time), []

            async def go(method: str, **how: Any) -> None:
                await limiter.acquire(method, **how)
                went_s.append(anyio.current_time())

            limiter.record("POST", 429, sent_s=0.0, wait_s=7.0)
            limiter.record("GET", 503, sent_s=0.0, wait_s=30.0)
            assert limiter.paused_until == pytest.approx(time.time() + 30, abs=5)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(go, "POST")
                tasks.start_soon(go, "GET")
                tasks.start_soon(lambda: go("POST", urgent=True))
            return went_s

        went_s, _ = virtual(main)
        assert min(went_s) == pytest.approx(30.0)
        assert max(went_s) < 35

    def test_a_plan_that_grew_is_found_out(self, virtual: Virtual):
        """A low rate is doubled at times: it is soon no hindrance."""

        async def main() -> list[float | None]:
            limiter, rates = RateLimiter(clock=anyio.current_time), []
            limiter.record("POST", 200, sent_s=0.0)
            await anyio.sleep(1.0)
            limiter.record("POST", 429, sent_s=1.0, wait_s=59.0)
            for wait_s in (60.0, 200.0, 200.0, *[60.0] * 5):
                await anyio.sleep(wait_s)
                await limiter.acquire("POST")
                limiter.record("POST", 200, sent_s=anyio.current_time())
                rates.append(limiter.posts_per_min)
            return rates

        assert virtual(main)[0] == pytest.approx([4.5, 4.5, 9, 18, 36, 72, 144, 288])


@pytest.mark.parametrize("jobs", [pytest.param(2000, marks=pytest.mark.heavy), 300])
def test_a_batch_learns_the_plans_rate(world, jobs: int):
    """At 60 a minute under 2 % are refused, and 2,000 take under 1.1 of the least time.

    Fewer jobs meet the same first wall: what is on its way then is refused, and all wait.
    """
    world.set(queue_s=0.0, work_s=15.0, rate_limit=60)
    world.gateway.log = log = deque()
    client, todo = world.watch.client, iter(range(jobs))

    async def work() -> None:
        for number in todo:
            messages = world.call(f"echo: {number}").messages
            ticket = await client.submit_chat("claude-4-sonnet", messages)
            await anyio.sleep(15.1)
            while not (await client.status(ticket.request_id, repeat=False)).ended:
                await anyio.sleep(1.0)
            _, reply = await client.fetch(ticket.request_id, repeat=False)
            assert reply.text == str(number)

    async def story() -> float:
        begun_s = world.loop.time()
        async with anyio.create_task_group() as workers:
            for _ in range(32):
                workers.start_soon(work)
        return world.loop.time() - begun_s

    took_s = world.run(story())
    refusals = sum(entry.status == 429 for entry in log)
    assert world.gateway.billed == jobs
    assert refusals < 0.02 * len(log)
    assert took_s < (1.1 if jobs == 2000 else 1.2) * jobs


class TestRefused:
    """What a call makes of a 429."""

    def test_a_call_waits_for_the_moment_within_its_time_out(self, bench):
        """By the server's own clock, if it tells; its reset goes before `Retry-After`."""
        moment = (datetime.now(UTC) + timedelta(seconds=40)).isoformat()
        date = {"date": "Thu, 01 May 2031 12:00:00 GMT"}
        for headers in [
            {"retry-after": "40"},
            {"retry-after": "2000", "x-rate-limit-reset-at-utc": moment},
            {"x-rate-limit-reset-at-utc": "2031-05-01T12:00:40Z", **date},
        ]:
            made = bench(httpx.Response(429, headers=headers), "reply")
            assert made.chat(timeout_s=60).text == "A sunset."
            assert sum(made.server.waits_s) == pytest.approx(40, abs=5)
            assert made.server.posts == 2

    @pytest.mark.parametrize("method", ["chat", "submit_chat"])
    def test_a_limit_that_lasts_longer_says_until_when_at_once(self, bench, method):
        """Nothing is waited for; more than an hour is not believed; who asks again is told so."""
        made = bench(httpx.Response(429, headers={"retry-after": "80000"}))
        messages = [{"role": "user", "content": "Hello"}]

        async def twice() -> list[str]:
            told = []
            for _ in range(2):
                with pytest.raises(RateLimitError) as caught:
                    await getattr(made.client, method)("claude-4-sonnet", messages)
                assert caught.value.status == 429
                told.append(str(caught.value))
            return told

        first, second = made.run(twice)
        moments = {time.strftime("%H:%M:", time.localtime(time.time() + s)) for s in (3590, 3605)}
        assert any(f"at {moment}" in first and f"at {moment}" in second for moment in moments)
        assert "was not sent" in second
        assert made.server.posts == 1
        assert made.server.waits_s == []
        assert made.client.limiter.paused_until == pytest.approx(time.time() + 3600, abs=20)

    def test_a_chat_does_not_queue_behind_a_batch(self, virtual: Virtual):
        """Somebody sits in front of it; it is counted, so that others wait for it."""

        async def main() -> list[tuple[str, float]]:
            limiter, went = RateLimiter(clock=anyio.current_time), []
            limiter._rate_per_s = 1.0

            async def go(name: str, urgent: bool) -> None:
                await limiter.acquire("POST", urgent=urgent)
                went.append((name, anyio.current_time()))

            async with anyio.create_task_group() as tasks:
                for n in range(3):
                    tasks.start_soon(go, f"submit {n}", False)
                await anyio.sleep(0.5)
                tasks.start_soon(go, "chat", True)
            return went

        went, _ = virtual(main)
        assert went == [("submit 0", 0.0), ("chat", 0.5), ("submit 1", 2.0), ("submit 2", 3.0)]


def test_the_proxy_of_the_environment_is_used_but_for_no_proxy(monkeypatch):
    """Names, their ends, addresses; what is none of these names nothing."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    ours, used = "https://api.segmind.com", "http://p:1"
    for setting, names, origin, proxy in [
        ("NONE", "", ours, None),
        ("ALL_PROXY", "", ours, used),
        ("HTTP_PROXY", "", ours, None),
        ("HTTPS_PROXY", "", ours, used),
        ("HTTPS_PROXY", "[::1], fe80::/10", ours, used),
        ("HTTPS_PROXY", "*", ours, None),
        ("HTTPS_PROXY", "localhost,.segmind.com", ours, None),
        ("HTTPS_PROXY", "segmind.com", ours, None),
        ("HTTPS_PROXY", "mind.com", ours, used),
        ("HTTPS_PROXY", "127.0.0.1,,[", "https://127.0.0.1:8443", None),
    ]:
        with monkeypatch.context() as patch:
            patch.setenv(setting, "p:1" if setting == "ALL_PROXY" else used)
            patch.setenv("NO_PROXY", names)
            assert proxy_for(origin) == proxy, (setting, names)


#: What may go wrong with one request: an answer, or none; and whether it may have been carried out.
FAULTS: dict[str, dict[str, Any]] = {
    "refused 429": {"status": 429},
    "refused 429, says when": {"status": 429, "headers": {"retry-after": "20"}},
    "busy 503": {"status": 503},
    "error 500": {"status": 500},
    "error 500 after the work": {"status": 500, "after_work": True},
    "gateway 502": {"status": 502, "body": "<html><title>502</title></html>"},
    "time-out 504 after the work": {"status": 504, "after_work": True},
    "no key 401": {"status": 401},
    "not found 404": {"status": 404},
    "no credits 406": {"status": 406},
    "redirect 302": {"status": 302, "headers": {"location": "https://evil.example/"}},
    "hotel's page": {"status": 200, "body": "<html>Log in</html>"},
    "empty 200": {"status": 200, "body": ""},
    "an object of nothing": {"status": 200, "body": {}},
    "lost before the work": {"drop": "before_work"},
    "lost after the work": {"drop": "after_work"},
    "late": {"delay_s": 400.0},
}
TIMES = (1, 30)


def test_the_matrix_of_faults_bills_nothing_twice_and_hangs_nowhere(world):
    """Each fault, once and for ever, on each path."""
    rows: list[tuple[str, str, str, int, int]] = []
    client = world.watch.client
    messages = world.call().messages

    async def outcome(path: str) -> str:
        try:
            with anyio.fail_after(4000):
                match path:
                    case "chat":
                        reply = await client.chat("claude-4-sonnet", messages)
                        return f"reply {reply.text!r}"
                    case "submit":
                        ticket = await client.submit_chat("claude-4-sonnet", messages)
                        return "queued" if ticket.request_id else "?"
                    case "credits":
                        return f"{(await client.credits()).total > 0}"
                    case "status" | "result":
                        return str(await getattr(client, path)(job_id))
                    case _:
                        job = await world.watch.submit(world.call())
                        await world.watch.follow(job)
                        return (
                            type(job.error).__name__ if job.error else f"reply {job.reply.text!r}"
                        )
        except SegmindError as error:
            return type(error).__name__

    for path, (name, fault), times in itertools.product(
        ("chat", "submit", "status", "result", "credits", "job: POST", "job: look"),
        FAULTS.items(),
        TIMES,
    ):
        world.gateway.clear_script()
        world.start_kernel()
        client = world.watch.client
        job_id = world.run(client.submit_chat("claude-4-sonnet", messages)).request_id
        world.loop.run(anyio.sleep(15))
        billed, sent = world.gateway.billed, len(world.sent("POST"))
        is_post = path in {"chat", "submit", "job: POST"}
        world.gateway.script("POST" if is_post else "GET", times=times, **fault)
        said = world.run(outcome(path))
        billed, sent = world.gateway.billed - billed, len(world.sent("POST")) - sent
        rows.append((path, name, f"x{times} {said}", sent, billed))
        assert billed <= 1, rows[-1]
        if billed and "Error" in said and is_post:
            assert said == MaybeBilledError.__name__, rows[-1]
        may_repeat = name.split()[0] in {"refused", "busy", "no", "lost"}
        assert sent <= 1 or may_repeat, rows[-1]
        if not is_post and path != "job: look":
            assert sent == 0, rows[-1]
    assert len(rows) == 7 * len(FAULTS) * len(TIMES)
