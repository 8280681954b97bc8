"""Re-execute the stored notebooks in place, record their run time and normalise their metadata.

Usage: python tools/execute.py [NAME ...]     such as 04 or 1_; all notebooks when none is named

The run time goes into the notebook's metadata, and the header's sentence about it is brought up to
date; the picture on the landing page follows the figure that it shows. A cell that fails stops
everything, and the notebook on disk stays as it was.
"""

import base64
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import chapters

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
CELL_TIMEOUT = 600
HERO = "1.5"  # the figure on the landing page and in the README
HERO_FILE = chapters.ROOT / "book" / "_static" / "hero.png"


def main(names):
    masters = sorted((chapters.ROOT / "assignments" / "source").glob("*/*.ipynb"))
    every = [*chapters.paths(), *masters]
    selected = [p for p in every if not names or p.name.startswith(tuple(names))]
    if not selected:
        sys.exit(f"No notebook begins with {' or '.join(names)}.")
    for path in selected:
        print(f"Executing {path.name}", end=" ", flush=True)
        seconds = execute(path)
        print(f"in {seconds:.0f} s", flush=True)
        if path not in masters and (hero := chapters.read(path).pictures.get(HERO)):
            HERO_FILE.write_bytes(base64.b64decode(hero["data"]["image/png"]))


def execute(path):
    """Execute one notebook and store it; the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name=KERNEL["name"],
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    start = time.perf_counter()
    client.execute()
    seconds = time.perf_counter() - start
    normalise(notebook, seconds)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return seconds


def normalise(notebook, seconds):
    """Keep the metadata that matters and state the run time, rounded, where it is stated."""
    rounded = max(5, 5 * round(seconds / 5))
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": KERNEL,
            "language_info": {"name": "python"},
            "flatlib": notebook.metadata.get("flatlib", {}) | {"run_seconds": rounded},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        kept = {key: cell.metadata[key] for key in ("tags", "nbgrader") if cell.metadata.get(key)}
        cell.metadata = nbformat.from_dict(kept)
    header = notebook.cells[0]
    header.source = chapters.RUN_TIME.sub(f"the code runs in about {rounded} s", header.source)


if __name__ == "__main__":
    main(sys.argv[1:])
