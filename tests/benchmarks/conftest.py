"""Where the figures of a benchmark go."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Print the figures (`pytest -s`) and put them into a report (`--junit-xml`)."""

    def tell(**told: object) -> None:
        sys.stdout.write("\n")
        for name, value in told.items():
            sys.stdout.write(f"  {name.replace('_', ' ')}: {value}\n")
            record_property(name, str(value))

    return tell
