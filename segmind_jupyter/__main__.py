"""``python -m segmind_jupyter``: `demo` writes a notebook to try, `alt` describes one's figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

_NAME = "quickstart.ipynb"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m segmind_jupyter")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    words = "write a notebook to try %%claude in: offline, without a key or a bill"
    commands.add_parser("demo", help=words).set_defaults(run=_write_demo)
    words = "give every figure of a notebook's file words for those who cannot see it"
    alt = commands.add_parser("alt", help=words)
    alt.add_argument("notebook", type=Path)
    alt.add_argument("--out", type=Path, help="write here, and leave the notebook as it is")
    alt.add_argument(
        "--check", action="store_true", help="list the cells whose figures have none; exits 1"
    )
    alt.add_argument("--dry-run", action="store_true", help="say what it would take")
    alt.add_argument("--budget", type=float, metavar="CREDITS", help="spend no more than this")
    alt.add_argument(
        "--format", choices=("html", "metadata", "quarto", "myst"), default="html",
        help="where the words go: HTML outputs, or what one tool reads",
    )  # fmt: skip
    alt.add_argument("--language", default="en", metavar="TAG", help="de, pt-BR, or de,fr")
    alt.add_argument("--model", metavar="SLUG", help="another model")
    # Imported when it is asked for: a demo is written without what draws and asks.
    alt.set_defaults(run=lambda args: resolve_name("segmind_jupyter.notebook.alt_text:run")(args))
    args = parser.parse_args(argv)
    return int(args.run(args))


def _write_demo(_: argparse.Namespace) -> int:
    """Write the notebook, never over another file, and say how to open it."""
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
