"""Sphinx: builds the pages of this folder, and runs every cell in them on the simulator."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

import jupyter_client

_HERE = Path(__file__).parent

project = "segmind_jupyter"
author = "The segmind_jupyter maintainers"
copyright = author
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["README.md", "_build"]
html_theme = "furo"
html_title = "segmind_jupyter"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
templates_path: list[str] = []
pygments_style = "friendly"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 120
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_error_lexer = "myst-ansi"
# What a reader sees without a kernel: the plain output, not the widget beside it.
nb_mime_priority_overrides = [
    ("html", "application/vnd.jupyter.widget-view+json", None),
    ("html", "text/html", 1),
]
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "bysource"
napoleon_google_docstring = False
copybutton_exclude = ".linenos, .gp, .go"

# The kernels that run the cells: offline, without waiting, and with a journal of their own.
for _name in [name for name in os.environ if name.startswith("SEGMIND_")]:
    del os.environ[_name]
os.environ["SEGMIND_BASE_URL"] = "simulator"
os.environ["SEGMIND_SIMULATOR_SPEED"] = "instant"
os.environ["SEGMIND_JUPYTER_STATE"] = "state"  # below the folder of each page
_SOCKETS = tempfile.mkdtemp(prefix="kernels-")


class _ReachedByFiles(jupyter_client.AsyncKernelManager):
    """Starts kernels without ports: two that start at once can choose the same ones."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.transport, self.ip = "ipc", f"{_SOCKETS}/{uuid.uuid4().hex}"


jupyter_client.AsyncKernelManager = _ReachedByFiles  # where nbclient looks for it

for _notebook in (_HERE.parent / "examples").glob("*.ipynb"):
    shutil.copy(_notebook, _HERE / "examples")
