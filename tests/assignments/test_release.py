"""The student's release and the published part of the repository hold nothing private."""

import subprocess
import sys

import nbformat
import pytest
import release
from parts import ASSIGNMENTS, marks, names

ROOT = ASSIGNMENTS.parent


@pytest.fixture(scope="module")
def released():
    release.release()
    return ASSIGNMENTS / "release"


@pytest.mark.parametrize("name", names())
def test_release(released, name):
    assert list(release.leaks(name, released)) == []
    notebook = nbformat.read(released / name / f"{name}.ipynb", as_version=4)
    assert all(not c.get("outputs") for c in notebook.cells)
    answers = [c for c in notebook.cells if marks(c)["solution"] and c.cell_type == "code"]
    assert all("NotImplementedError" in c.source for c in answers)
    pictures = [c for c in notebook.cells if "data:image/png" in c.source]
    assert len(pictures) >= 2 and all("*Figure " in c.source for c in pictures)
    assert all(c.source == c.source.rstrip() for c in notebook.cells)
    assert (released / name / f"{name}.ipynb").stat().st_size < 1_000_000


def test_a_leak_is_found(released, tmp_path):
    name = names()[0]
    notebook = nbformat.read(released / name / f"{name}.ipynb", as_version=4)
    master = nbformat.read(ASSIGNMENTS / "source" / name / f"{name}.ipynb", as_version=4)
    answer = next(c for c in master.cells if marks(c)["solution"])
    secret = next(line for line, private in release.marked_lines(answer.source) if private)
    notebook.cells[0].source += f"\n{secret}"
    (tmp_path / name).mkdir()
    nbformat.write(notebook, tmp_path / name / f"{name}.ipynb")
    assert any(secret in problem for problem in release.leaks(name, tmp_path))


def test_publish(tmp_path):
    folder = tmp_path / "public"
    command = [sys.executable, "assignments", "public", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    assert (folder / "assignments" / "release" / names()[0]).is_dir()
    assert (folder / "flatlib" / "convex.py").exists()
    for private in release.PRIVATE:
        assert not (folder / private).exists()
    for path in folder.rglob("*.ipynb"):
        assert not release.MARKS.search(path.read_text()), path
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode and "neither empty nor a clone" in again.stderr


def test_publish_into_a_clone(tmp_path):
    def git(*arguments):
        command = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    (tmp_path / "old.txt").write_text("from an earlier version")
    with pytest.raises(ValueError, match="not committed"):
        release.publish(tmp_path)
    assert (tmp_path / "old.txt").exists()
    git("add", "--all")
    git("commit", "--quiet", "--message=an earlier version")
    release.publish(tmp_path)
    changed = git("status", "--porcelain", "--untracked-files=all")
    assert " D old.txt" in changed and f"assignments/release/{names()[0]}" in changed
