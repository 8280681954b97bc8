"""Run every notebook as Colab would, and compare its printed values with the stored ones.

Usage: python tools/colab.py [CHAPTER ...]     such as 04; all notebooks when none is named

Colab's versions (requirements-colab.txt) go into .venv-colab. Each notebook is copied alone to an
empty folder and executed there. Its set-up cell runs unchanged: git is told that the repository's
address means a temporary clone of this working tree, with uncommitted changes, that carries the tag
which the cell asks for. Before and after, pip's list of packages is compared: the cell may add the
library and matfree, and may not touch anything else. An assignment runs as the student gets it, up
to the first answer, which is not there yet.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import chapters

REQUIREMENTS = ROOT / "requirements-colab.txt"
VENV = ROOT / ".venv-colab"
PYTHON = VENV / "bin" / "python"
ADDED = {"flat-minima-course", "matfree"}  # what the set-up cell may install
# Runs a notebook, and ends well if the first cell that fails is an answer to be written.
FIRST_STUB = """
import sys, nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
notebook = nbformat.read(sys.argv[1], as_version=4)
try:
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
except CellExecutionError as problem:
    failed = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.execution_count]
    stub = failed[-1].metadata["nbgrader"]["solution"] or failed[-1].metadata["nbgrader"]["grade"]
    sys.exit(0 if stub and problem.ename == "NotImplementedError" else str(problem))
sys.exit("no answer was missing")
"""
ADDRESS = re.compile(r'REPOSITORY, TAG = "(?P<url>[^"]+)", "(?P<tag>[^"]+)"')


def main(names):
    if (ROOT / "assignments" / "source").exists():
        subprocess.run([sys.executable, "assignments", "release"], cwd=ROOT, check=True)
    every = [*chapters.paths(), *sorted((ROOT / "assignments" / "release").glob("*/*.ipynb"))]
    selected = [p for p in every if not names or p.name.startswith(tuple(names))]
    if not selected:
        sys.exit("There is no notebook to run.")
    build_environment()
    failed = []
    with tempfile.TemporaryDirectory(prefix="colab-") as folder:
        for path in selected:
            print(f"--- {path.name}", flush=True)
            start = time.perf_counter()
            problem = run(path, Path(folder) / path.stem)
            print(f"    {problem or 'passed'} in {time.perf_counter() - start:.0f} s", flush=True)
            failed += [path.name] if problem else []
    print(
        f"{len(selected) - len(failed)} notebooks passed on Colab's versions, {len(failed)} failed"
    )
    return 1 if failed else 0


def build_environment():
    """Create .venv-colab, or keep it if the requirements have not changed."""
    stamp = VENV / ".requirements"
    if stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text():
        return
    python = find_python()
    print(f"Installing Colab's versions into {VENV.name} ({version_of(python)})", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([python, "-m", "venv", VENV], check=True)
    pip("install", "-r", REQUIREMENTS)
    stamp.write_text(REQUIREMENTS.read_text())


def find_python():
    """Python 3.13, which Colab has, or else the Python that runs this."""
    pyenv = os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")
    for candidate in ["python3.13", *glob.glob(f"{pyenv}/versions/3.13*/bin/python3.13")]:
        if (version_of(candidate) or "").startswith("Python 3.13"):
            return candidate
    print(f"Python 3.13 is not installed: Colab's packages run on {version_of(sys.executable)}")
    return sys.executable


def version_of(python):
    """The version that an interpreter reports with `venv` at hand, or None."""
    try:
        command = [python, "-c", "import ensurepip, sys; print('Python', sys.version.split()[0])"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def pip(*arguments):
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "-qq", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def run(path, folder):
    """Run one notebook in an empty folder; what went wrong, or None."""
    folder.mkdir()
    address = ADDRESS.search("\n".join(cell.source for cell in chapters.read(path).code))
    if not address:
        return "FAILED: the set-up cell names no repository and tag"
    pip("uninstall", "--yes", *ADDED)
    before = packages()
    environment = isolated(folder / ".home", address["url"], address["tag"])
    command = [PYTHON, "-c", "import flatlib"]
    if subprocess.run(command, cwd=folder, env=environment, capture_output=True).returncode == 0:
        return "FAILED: flatlib can be imported before the set-up cell installs it"
    work = folder / "content"
    work.mkdir()
    shutil.copy(path, work)
    if is_assignment(path):
        command = [PYTHON, "-c", FIRST_STUB, path.name]
    else:
        command = [PYTHON, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider"]
        command += ["--disable-warnings", path.name]  # of Colab's older packages on a new Python
    result = subprocess.run(command, cwd=work, env=environment, stdin=subprocess.DEVNULL)
    if result.returncode:
        return "FAILED: a cell failed or printed something else than what is stored"
    return package_changes(before, packages())


def is_assignment(path):
    return path.parent.parent.name == "release"


def isolated(home, url, tag):
    """An environment with a home of its own, in which `url` means a clone of this working tree."""
    clone = home / "clone"
    clone.mkdir(parents=True)
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    git(clone, "init", "--quiet")
    git(clone, "add", "--all")
    identity = ["-c", "user.name=colab", "-c", "user.email=colab@localhost"]
    git(clone, *identity, "commit", "--quiet", "--no-verify", "--message=working tree")
    git(clone, "tag", tag)
    config = home / "gitconfig"
    config.write_text(f'[url "file://{clone}"]\n\tinsteadOf = {url}\n')
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GIT_", "JAX_"))}
    configuration = os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config"))
    return kept | {
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(config),
        "XDG_CONFIG_HOME": configuration,  # pip's own settings stay in force
        "PIP_CACHE_DIR": pip_cache(),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # a warning of the kernel's debugger
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "PYTHONNOUSERSITE": "1",
    }


def pip_cache():
    command = [PYTHON, "-m", "pip", "cache", "dir"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def git(folder, *arguments):
    command = ["git", "-C", folder, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def packages():
    """The installed distributions with their versions."""
    command = [PYTHON, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.split("==") for line in listed.split() if "==" in line)


def package_changes(before, after):
    """What the set-up cell changed though it must not, or None."""
    changed = [name for name, version in before.items() if after.get(name) != version]
    added = [name for name in after if name not in before and name not in ADDED]
    if changed or added:
        return f"FAILED: the set-up cell changed {changed} and added {added}"
    if "flat-minima-course" not in after:
        return "FAILED: the set-up cell did not install the library"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
