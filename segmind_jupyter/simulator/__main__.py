"""Runs the simulated gateway from a terminal: ``python -m segmind_jupyter.simulator``."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
from collections.abc import Sequence

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import DEMO, Behaviour
from segmind_jupyter.simulator.server import serve

_USAGE = """\
Segmind simulator on {url} (Ctrl-C stops it)
Every reply is made up, and says so. Use it with:
  export SEGMIND_BASE_URL={url} SEGMIND_API_KEY=any
"""

#: Seconds between looks at the stop signal: some systems do not let a signal end a longer wait.
_LOOK_S = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal to stop comes; give the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m segmind_jupyter.simulator",
        description="Segmind's Claude API, simulated on this machine.",
        epilog="A prompt that begins with 'echo:' is answered with the rest of it; one that begins"
        " with 'fail:' fails with the rest as the reason.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=8765, help="0 takes a free one (default: %(default)s)")
    add("--latency", type=amount, default=DEMO.latency_s, help="seconds of a v1 call")
    add("--queue", type=amount, default=DEMO.queue_s, help="seconds a v2 job is queued")
    add("--work", type=amount, default=DEMO.work_s, help="seconds a v2 job is processed")
    add("--rate-limit", type=int, metavar="N", help="model calls a minute (default: no limit)")
    add("--key", action="append", help="a key to accept, repeatable (default: any)")
    add("--credits", type=amount, default=DEMO.credits, help="credits on the account")
    options = parser.parse_args(argv)
    behaviour = Behaviour(
        latency_s=options.latency,
        queue_s=options.queue,
        work_s=options.work,
        rate_limit=options.rate_limit,
        sends_reset=True,
        keys=frozenset(options.key) if options.key else None,
        credits=options.credits,
    )
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        with serve(Gateway(behaviour), host=options.host, port=options.port) as url:
            sys.stdout.write(_USAGE.format(url=url))
            sys.stdout.flush()
            while not stopped.wait(_LOOK_S):
                pass
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"Cannot listen on {options.host}:{options.port}: {error}.\n")
        return 1
    return 0


def amount(text: str) -> float:
    """Read a number of seconds or dollars."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main())
