"""Described figures on real pages: the same pixels, and words for who does not see them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import nbformat
import pytest
from PIL import Image, ImageChops

pytestmark = pytest.mark.browser

LOAD = """\
%load_ext segmind_jupyter
%segmind simulator
%config InlineBackend.figure_formats = ["retina"]
import matplotlib.pyplot as plt"""

DRAW = """\
fig, ax = plt.subplots(figsize=(4, 2), facecolor="none")
ax.plot([1, 3, 2]);"""

NAME = "(simulated) A picture of"


def looks(image):
    return Image.open(io.BytesIO(image.screenshot())).convert("RGB")


def names(page) -> list[str]:
    """What Chromium's accessibility tree calls the images of a page."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [n["name"]["value"] for n in nodes if n.get("role", {}).get("value") == "image"]


@pytest.fixture(scope="module")
def axe(tmp_path_factory) -> str:
    """The source of axe-core, from the npm registry."""
    folder = tmp_path_factory.mktemp("axe")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, and fetches axe-core")
    fetched = subprocess.run(
        ["npm", "pack", "--silent", "axe-core@4"], cwd=folder, check=False, capture_output=True
    )
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch axe-core: {fetched.stderr.decode()[:200]}")
    with tarfile.open(next(folder.glob("axe-core-*.tgz"))) as package:
        source = package.extractfile("package/axe.min.js")
        assert source is not None
        return source.read().decode()


def test_lab_shows_a_described_figure_as_its_plain_output(open_notebook, artifacts, axe, tmp_path):
    """Also on a dark page; saved and made a page by nbconvert, axe finds no image without words."""
    from nbconvert import HTMLExporter

    notebook = open_notebook(LOAD, DRAW, f"%%claude --alt\n{DRAW}", scale=2)
    notebook.run_all()
    plain = notebook.cell(1).locator("img")
    described = notebook.cell(2).locator("figure img")
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        notebook.theme(theme)
        pictures = looks(plain), looks(described)
        assert pictures[0].size == pictures[1].size
        # They stand at different fractions of a pixel.
        assert max(high for _, high in ImageChops.difference(*pictures).getextrema()) < 40, theme
    assert [name for name in names(notebook.page) if name.startswith(NAME)]
    notebook.cell(2).locator("summary").click()
    notebook.shoot(artifacts / "described")
    saved = notebook.save()
    del saved.cells[1]
    page = notebook.page.context.new_page()
    html, _ = HTMLExporter().from_notebook_node(nbformat.from_dict(json.loads(json.dumps(saved))))
    Path(tmp_path / "page.html").write_text(html, encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document, {runOnly: ['image-alt']})")
    assert found["violations"] == []
    assert len(found["passes"]) == 1
    assert names(page)[0].startswith(NAME)
    page.close()
