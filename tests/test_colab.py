"""The Colab run notices what it is there for; the run itself is a stage of `make test`."""

import os
import subprocess
import sys

import colab
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

BEFORE = {"jax": "0.7.2", "numpy": "2.1.3"}
INSTALLED = {"flat-minima-course": "0.1.0", "matfree": "0.6.3"}


def test_installing_the_library_alone_is_right():
    assert colab.package_changes(BEFORE, BEFORE | INSTALLED) is None


@pytest.mark.parametrize(
    "after",
    [
        BEFORE | INSTALLED | {"jax": "0.10.2"},  # upgraded
        BEFORE | INSTALLED | {"cvxpy": "1.9.3"},  # something else came along
        {"jax": "0.7.2"} | INSTALLED,  # something went
        BEFORE,  # nothing was installed
    ],
)
def test_any_other_change_is_noticed(after):
    assert "FAILED" in colab.package_changes(BEFORE, after)


def test_git_finds_the_working_tree_under_the_repository_address(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(["git", "init", "--quiet", source], check=True)
    (source / "file.txt").write_text("not committed")
    monkeypatch.setattr(colab, "ROOT", source)
    monkeypatch.setattr(colab, "pip_cache", lambda: "")
    url = "https://git.invalid/owner/course"
    environment = colab.isolated(tmp_path / "home", url, "v1.2.3")
    assert environment["HOME"] != os.environ.get("HOME")
    clone = ["git", "clone", "--quiet", "--branch", "v1.2.3", url, tmp_path / "clone"]
    subprocess.run(clone, check=True, env=environment, capture_output=True)
    assert (tmp_path / "clone" / "file.txt").read_text() == "not committed"


def test_nbval_compares_printed_values(tmp_path):
    cells = [new_code_cell("print(1)"), new_code_cell("print(2)")]
    for count, cell in enumerate(cells, 1):
        cell.execution_count = count
        cell.outputs = [new_output("stream", name="stdout", text="1\n")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "small.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-c", os.devnull, tmp_path]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "1 failed, 1 passed" in said


@pytest.mark.parametrize(
    "sources, passes",
    [
        (["x = 1", "raise NotImplementedError()"], True),  # up to the first answer
        (["x = y", "raise NotImplementedError()"], False),  # a cell before it fails
        (["x = 1", "x = 2"], False),  # an answer is there already
        (["raise NotImplementedError()", "x = 1"], False),  # not in an answer or its tests
    ],
)
def test_an_assignment_runs_to_its_first_stub(tmp_path, sources, passes):
    cells = [new_code_cell(source) for source in sources]
    for cell, solution in zip(cells, (False, True), strict=True):
        cell.metadata["nbgrader"] = {"solution": solution, "grade": False}
    nbformat.write(new_notebook(cells=cells), tmp_path / "small.ipynb")
    command = [sys.executable, "-c", colab.FIRST_STUB, "small.ipynb"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode == 0) == passes, done.stderr
