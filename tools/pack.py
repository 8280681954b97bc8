"""Pack what is attached to a release into _build/release: the book as HTML and PDF, the notebooks.

Usage: python tools/pack.py [TAG]     such as v0.1.0, to check that it is the version's tag

The notebooks come with the library, so what is unpacked needs nothing from the repository: its
README says how to run it. `make release` builds the book and its PDF first.
"""

import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import publication

NOTEBOOKS = ["notebooks", "flatlib", "pyproject.toml", "LICENSE"]
JUNK = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", ".buildinfo", ".doctrees")

README = """# Flat minima and generalization: the notebooks, version {version}

The executed chapters, and the library that they use. You need Python 3.11 or newer. In this folder:

    python3 -m venv .venv
    .venv/bin/pip install . jupyterlab
    .venv/bin/jupyter lab notebooks

(On Windows `py -m venv .venv`, then `.venv\\Scripts` in place of `.venv/bin`.) Begin with
`01_interpolators.ipynb`. The links between chapters work as long as the files stay together.

The book, with mathematics and figures set for reading, is at <{book}>.
"""


def main(arguments):
    version = publication.version(ROOT)
    if arguments and arguments != [f"v{version}"]:
        sys.exit(f"The tag is {' '.join(arguments)}, but pyproject.toml says version {version}.")
    target = ROOT / "_build" / "release"
    shutil.rmtree(target, ignore_errors=True)
    for path in write(ROOT, target):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1e6:.1f} MB")


def write(root, target):
    """Write the three files of a release; their paths."""
    version = publication.version(root)
    pdf = target / f"flat-minima-{version}.pdf"
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder) / f"flat-minima-html-{version}"
        shutil.copytree(root / "_build" / "html", book, ignore=JUNK)
        notebooks = Path(folder) / f"flat-minima-notebooks-{version}"
        gather_notebooks(root, notebooks)
        archives = [compress(content, target) for content in (book, notebooks)]
    shutil.copy(root / "_build" / "flat-minima.pdf", pdf)
    return [*archives, pdf]


def gather_notebooks(root, folder):
    """Copy the notebooks and the library into a folder, and say there how to run them."""
    folder.mkdir()
    for name in NOTEBOOKS:
        copy = shutil.copy if (root / name).is_file() else copy_folder
        copy(root / name, folder / name)
    text = README.format(version=publication.version(root), book=publication.book_address(root))
    (folder / "README.md").write_text(text, encoding="utf8")


def copy_folder(source, target):
    shutil.copytree(source, target, ignore=JUNK)


def compress(folder, target):
    """Write FOLDER.zip, which unpacks to one folder of that name, into the target; its path."""
    archive = shutil.make_archive(target / folder.name, "zip", folder.parent, folder.name)
    return Path(archive)


if __name__ == "__main__":
    main(sys.argv[1:])
