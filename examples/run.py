"""Runs the examples on the simulator, and saves what they showed: `python examples/run.py [NAME ...]`."""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

#: Stored without outputs: what a newcomer sees is what their own run made.
TO_BE_RUN = "quickstart"


def run(path: Path) -> None:
    """Run a notebook in a folder of its own, and keep of its outputs what needs no kernel."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": folder}}).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            for mime in [mime for mime in data if "widget" in mime]:
                del data[mime]
    told = nbformat.writes(notebook).replace(f"{folder}/", "")  # the folder is gone by now
    path.write_text(f"{told}\n", encoding="utf-8")


if __name__ == "__main__":
    for name in [name for name in os.environ if name.startswith("SEGMIND_")]:
        del os.environ[name]
    os.environ["SEGMIND_BASE_URL"] = "simulator"
    os.environ["SEGMIND_JUPYTER_STATE"] = "state"  # in the notebook's own folder
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        if path.stem in sys.argv[1:] or (len(sys.argv) == 1 and path.stem != TO_BE_RUN):
            print(path.stem)
            run(path)
