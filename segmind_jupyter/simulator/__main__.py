"""Runs the simulated gateway from a terminal: ``python -m segmind_jupyter.simulator``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import demo_behaviour
from segmind_jupyter.simulator.server import serve

_USAGE = """\
Segmind simulator on {url} (Ctrl-C stops it)
Every reply is made up, and says so. Use it with:
  export SEGMIND_BASE_URL={url} SEGMIND_API_KEY=any
"""

_DAY_S = 86_400


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal to stop comes; give the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m segmind_jupyter.simulator",
        description="Segmind's Claude API, simulated on this machine.",
        epilog="A prompt that begins with 'echo:' is answered with the rest of it; one that begins"
        " with 'fail:' fails with the rest as the reason. SEGMIND_SIMULATOR_SPEED sets the pace:"
        " a factor, or 'instant'.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="listen here (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="0: a free one (default: 8765)")
    options = parser.parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with serve(Gateway(demo_behaviour()), host=options.host, port=options.port) as url:
            sys.stdout.write(_USAGE.format(url=url))
            sys.stdout.flush()
            while True:
                time.sleep(_DAY_S)
    except KeyboardInterrupt:
        return 0
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"Cannot listen on {options.host}:{options.port}: {error}.\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
