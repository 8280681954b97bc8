"""The student's notebooks, and the part of the repository that may be published."""

import concurrent.futures
import contextlib
import io
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MARKS = re.compile(r"###\s*(BEGIN|END)\s+(SOLUTION|HIDDEN TESTS)")
# Answers, hidden tests, and the tests that know them.
PRIVATE = ("assignments/source/", "assignments/trials/", "tests/assignments/")


def assignments():
    """The names of the assignments, in order."""
    return sorted(path.parent.name for path in (HERE / "source").glob("*/*.ipynb"))


@contextlib.contextmanager
def nbgrader_in(folder, jobs=1):
    """Processes that run nbgrader's commands in a class folder, as a concurrent.futures executor.

    They load nbgrader once, which takes longer than to grade a short submission.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, context, _enter, [str(folder)]) as pool:
        yield pool


def _enter(folder):
    os.environ["CLASS_FOLDER"] = folder
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # alembic
    os.chdir(HERE)  # where nbgrader finds its configuration


def nbgrader(command, *arguments):
    """Run one command of nbgrader, in such a process; what it logged, and whether it succeeded."""
    from nbgrader import apps

    application = getattr(apps, command)
    application.clear_instance()
    log = io.StringIO()
    try:
        with contextlib.redirect_stderr(log):
            application.launch_instance(list(arguments))
    except SystemExit as end:
        return log.getvalue(), not end.code
    except Exception:
        return log.getvalue() + traceback.format_exc(), False
    return log.getvalue(), True


def release(names=None, folder=None):
    """Write the student's notebooks into assignments/release, or into the gradebook of a class.

    Raises
    ------
    ValueError where the masters are missing, as in the public repository;
    RuntimeError if nbgrader refuses a master, or if something private is in what it made.
    """
    target, names = HERE / "release", names or assignments()
    if not names:
        raise ValueError("There are no masters here: assignments/source is private.")
    with tempfile.TemporaryDirectory(prefix="release-") as scratch:
        where = Path(folder or scratch)
        with nbgrader_in(where) as pool:
            for name in names:
                work = pool.submit(nbgrader, "GenerateAssignmentApp", name, "--force")
                log, passed = work.result()
                if not passed:
                    raise RuntimeError(f"nbgrader could not release {name}:\n{log}")
        made = where / "release"
        for name in names:
            for problem in leaks(name, made):
                raise RuntimeError(f"{name}: {problem}")
        if folder is None:
            for old in target.glob("*"):
                if old.name in names or old.name not in assignments():
                    shutil.rmtree(old)
            for name in names:
                shutil.copytree(made / name, target / name)
            print(f"{', '.join(names)}: in {target.relative_to(ROOT)}")


def leaks(name, folder):
    """What of a master's solutions and hidden tests is in the released notebook."""
    master = nbformat.read(HERE / "source" / name / f"{name}.ipynb", as_version=4)
    text = (folder / name / f"{name}.ipynb").read_text()
    if MARKS.search(text):
        yield "a mark of a solution or of a hidden test is in the release"
    lines = [line for cell in master.cells for line in marked_lines(cell.source)]
    private, public = ({line for line, inside in lines if inside == side} for side in (True, False))
    released = {
        line.strip()
        for cell in nbformat.reads(text, as_version=4).cells
        for line in cell.source.split("\n")
    }
    for line in private & released - public:
        if len(line) > 12:  # shorter ones say nothing by themselves
            yield f"the line {line!r} is released"


def marked_lines(source):
    """The lines of a cell, and whether each stands between marks."""
    inside = False
    for line in map(str.strip, source.split("\n")):
        if MARKS.search(line):
            inside = "BEGIN" in line
        else:
            yield line, inside


def publish(folder):
    """Write the tracked files without the private ones, and the release, into `folder`.

    The folder is new or empty, or a clone of the public repository, whose tracked files are
    replaced; its history stays. The private history does not travel: look at `git diff` there, then
    commit.

    Raises
    ------
    ValueError if the folder holds something that git could not give back.
    """
    folder = folder.resolve()
    if folder == ROOT or ROOT in folder.parents:
        raise ValueError("Choose a folder outside this repository.")
    if (folder / ".git").exists():
        if _git(folder, "status", "--porcelain"):
            raise ValueError(f"{folder} has changes that are not committed: commit or remove them.")
    elif folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is neither empty nor a clone of a repository; choose another.")
    release()
    if (folder / ".git").exists():
        for name in _tracked(folder):
            (folder / name).unlink()
    names = [name for name in _tracked(ROOT) if not name.startswith(PRIVATE)]
    names += [str(path.relative_to(ROOT)) for path in (HERE / "release").rglob("*.ipynb")]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    ignored = (folder / ".gitignore").read_text().replace("/assignments/release/\n", "")
    (folder / ".gitignore").write_text(ignored)
    print(f"{len(names)} files are in {folder}. Look at them, then commit and push them there.")


def _git(folder, *arguments):
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _tracked(folder):
    return [name for name in _git(folder, "ls-files", "-z").split("\0") if name]
