"""The JavaScript of the chat, in Node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def test_the_page_s_half_of_the_protocol():
    """`node --test` runs what needs no page; under CI it must be there."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI"):
            pytest.fail("node is not on the PATH")
        pytest.skip("node is not on the PATH")
    ran = subprocess.run(
        [node, "--test", str(Path(__file__).with_name("chat.test.mjs"))],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "# fail 0" in ran.stdout
