"""``python -m segmind_jupyter demo``: writes the quickstart notebook into the current folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

_NAME = "quickstart.ipynb"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the notebook, never over another file, and say how to open it."""
    parser = argparse.ArgumentParser(
        prog="python -m segmind_jupyter",
        description="demo writes a notebook to try %%claude in: offline, without a key or a bill.",
    )
    parser.add_argument("command", choices=["demo"])
    parser.parse_args(argv)
    package = Path(__file__).parent
    # A wheel holds it as data; a checkout has it among the examples.
    places = (package / _NAME, package.parent / "examples" / _NAME)
    content = next(place for place in places if place.exists()).read_bytes()
    try:
        with open(_NAME, "xb") as file:
            file.write(content)
    except FileExistsError:
        told = f"{_NAME} is here already, and was left as it is."
    except OSError as error:
        sys.stderr.write(f"Cannot write {_NAME} here: {error.strerror}.\n")
        return 1
    else:
        told = f"Wrote {_NAME}: a plot, a photo and a data frame, asked about offline."
    complete = all(map(find_spec, ("jupyterlab", "matplotlib", "pandas")))
    install = "" if complete else "pip install 'segmind-jupyter[lab]' && "
    sys.stdout.write(f"{told} Open it with:\n  {install}jupyter lab {_NAME}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
