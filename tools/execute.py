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
HERO = "Figure 1.5."  # the figure on the landing page and in the README
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
        image = hero_image(nbformat.read(path, as_version=4))
        if image and path not in masters:
            HERO_FILE.write_bytes(image)


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


def hero_image(notebook):
    """The PNG of the landing page's figure, or None where the notebook does not show it."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            caption = output.get("metadata", {}).get("flatlib", {}).get("caption", "")
            if caption.startswith(HERO) and "image/png" in output.get("data", {}):
                return base64.b64decode(output["data"]["image/png"])
    return None


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
