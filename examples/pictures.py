"""Make the pictures in `examples/images`: the same thing without this package's view, and with it.

    python examples/pictures.py

It needs JupyterLab, Chromium and playwright (`pip install -e '.[test]'`). Every reply is the
simulator's. The left side is what its own code shows, which is in `PAIRS`; nothing is retouched.
"""

from __future__ import annotations

import io
import sys
import tempfile
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from conftest import opening, running_chromium, running_lab  # noqa: E402

SETUP = r'''
%load_ext segmind_jupyter
import os
os.environ["SEGMIND_SIMULATOR_SPEED"] = "0.5"
from dataclasses import dataclass
import httpx, matplotlib.pyplot as plt
from IPython.display import Markdown
from PIL import Image
from segmind_jupyter import Reply, ask_each
from segmind_jupyter.session import session

fig, ax = plt.subplots(figsize=(6, 3))
ax.plot([1960, 1990, 2020], [317, 354, 414])
ax.set(xlabel="year", ylabel="CO₂ in ppm")
plt.close()
photos = {f"{name}.png": Image.new("RGB", (120, 80), name) for name in ("teal", "crimson", "gold")}

@dataclass
class Trend:
    direction: str
    unit: str
    reasons: list[str]

reply = Reply(text=r"""### Prices
They fell from $5 to $3, and later by **a third**:

| year | price | share |
|:--|--:|--:|
| 1990 | 5.00 | `0.2` |
| 2020 | 3.00 | `0.3` |

$$\bar p = \frac{1}{n}\sum_{i=1}^{n} p_i$$

- [x] checked
- [ ] adjusted for inflation""", model="claude-4-sonnet")

def without_lines():  # what a cell showed while it waited, before it said so
    session().wait_shows.clear()

def refused(request):
    return httpx.Response(406, json={"error": "Insufficient credits"})
'''

#: By the picture's name: what is left, and its cell; the cell that is right of it.
PAIRS = {
    "reply": ("A Markdown cell's view of the reply", "Markdown(reply.text)", "reply"),
    "error": (
        "The same answer of the server, checked by hand",
        "client = httpx.Client(transport=httpx.MockTransport(refused))\n"
        'response = client.post("https://api.segmind.com/v1/claude-4-sonnet")\n'
        "if not response.is_success:\n    raise RuntimeError(response, response.text)",
        "%%claude\nWhat does {fig} show?",
    ),
    "typed": ("The value that Python shows", "trend", "%%claude --json Trend -o trend\nWhich trend does {fig} show?"),
    "batch": ("Its progress as text", "captions.wait();\nprint(captions)", 'captions = ask_each("Caption this.", photos)'),
    "jobs": (
        "The journal's rows",
        "for job in session().journal.entries():\n    print(job.request_id, job.model, job.state)",
        "%segmind jobs",
    ),
}
#: A cell that stands before both.
FIRST = {
    "error": "%segmind simulator fail 406",
    "typed": "%segmind simulator fail off",
    "jobs": "job = %claude -j What is a violin plot?\njob.wait();",
}
SLOW = "%%claude\nWhat does {fig} show?"
THEMES = ("JupyterLab Light", "JupyterLab Dark")
WIDTH = 720


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryDirectory() as folder,
        running_lab(Path(home), Path(folder)) as lab,
        running_chromium() as browser,
    ):
        contexts = cache(lambda scale: browser.new_context(device_scale_factor=scale))
        with opening(contexts, lab) as open_it:
            cells, places = [SETUP, "%segmind simulator"], {}
            for name, (_, left, right) in PAIRS.items():  # the left one needs what the right one made
                cells += [FIRST[name]] if name in FIRST else []
                places[name] = len(cells) + 1, len(cells)
                cells += [right, left]
            notebook = open_it(*cells, height=2600)
            notebook.run_all()
            narrow(notebook)
            for name, numbers in places.items():
                shots = [[], []]
                for theme in THEMES:
                    notebook.theme(theme)
                    for side, number in zip(shots, numbers, strict=True):
                        side.append(output(notebook, number))
                paste(name, PAIRS[name][0], shots)
            shots = [[], []]
            for side, more in zip(shots, ("without_lines()", "%reload_ext segmind_jupyter"), strict=True):
                waiting = open_it(SETUP, "%segmind simulator", more, SLOW, height=700)
                narrow(waiting)
                waiting.page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
                waiting.page.locator(".jp-InputPrompt", has_text="[3]").wait_for(timeout=60_000)
                waiting.page.wait_for_timeout(2200)
                for theme in THEMES:
                    waiting.theme(theme)
                    side.append(output(waiting, 3))
            paste("wait", "A cell that waits and says nothing", shots)


def narrow(notebook) -> None:
    """Leave room for one half of a picture."""
    notebook.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    notebook.page.set_viewport_size({"width": WIDTH + 120, "height": 2600})
    notebook.page.wait_for_timeout(1000)


def output(notebook, number: int) -> Image.Image:
    cell = notebook.cell(number)
    cell.scroll_into_view_if_needed()
    return Image.open(io.BytesIO(cell.screenshot())).convert("RGB")


def paste(name: str, left: str, shots: list[list[Image.Image]]) -> None:
    """Lay what is without to the left of what is with; light above dark."""
    titles, margin, head = (left, "segmind_jupyter"), 12, 34
    font = ImageFont.load_default(size=15)
    width = max(shot.width for side in shots for shot in side)
    heights = [max(side[n].height for side in shots) for n in range(len(THEMES))]
    size = 2 * width + 3 * margin, sum(heights) + head + len(THEMES) * margin
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for column, (title, side) in enumerate(zip(titles, shots, strict=True)):
        x, y = margin + column * (width + margin), head
        draw.text((x, 9), title, fill="#333333", font=font)
        for n, shot in enumerate(side):
            draw.rectangle((x, y, x + width, y + heights[n]), fill=shot.getpixel((2, shot.height - 2)))
            page.paste(shot, (x, y))
            y += heights[n] + margin
    path = ROOT / "examples" / "images" / f"{name}.png"
    page.quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
