"""Read the masters and their trial answers, and run them in this process."""

import dataclasses
import os
import re
from pathlib import Path

import nbformat

ASSIGNMENTS = Path(__file__).resolve().parents[2] / "assignments"
TRIAL = re.compile(r"^# %% (?P<part>[\w-]+): (?P<kind>right|wrong), (?P<how>.+)$", re.MULTILINE)
HIDDEN = re.compile(r"### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Trial:
    part: str
    right: bool
    how: str
    source: str


def names():
    return sorted(path.parent.name for path in ASSIGNMENTS.glob("source/*/*.ipynb"))


def master(name):
    return nbformat.read(ASSIGNMENTS / "source" / name / f"{name}.ipynb", as_version=4)


def marks(cell):
    return cell.metadata["nbgrader"]


def automatic(notebook):
    """The automatically graded parts, in order: {part: (answer cell, test cell)}."""
    cells = {marks(cell)["grade_id"]: cell for cell in notebook.cells}
    tests = [name for name in cells if marks(cells[name])["grade"]]
    tests = [name for name in tests if not marks(cells[name])["solution"]]
    return {
        name.removesuffix("-tests"): (cells[name.removesuffix("-tests")], cells[name])
        for name in tests
    }


def trials(name):
    text = (ASSIGNMENTS / "trials" / f"{name}.py").read_text()
    found = list(TRIAL.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [
        Trial(match["part"], match["kind"] == "right", match["how"], text[match.end() : end])
        for match, end in zip(found, ends, strict=True)
    ]


def run(source, namespace, label, seed=0):
    """Execute the source of a cell as a kernel would, in this process."""
    os.environ["GRADING_SEED"] = str(seed)
    exec(compile(source, label, "exec"), namespace)


def states(notebook):
    """The variables that each cell finds, after the master's answers before it."""
    namespace, found = {"__name__": "__main__"}, {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        name = marks(cell)["grade_id"]
        found[name] = dict(namespace)
        if not (marks(cell)["grade"] and marks(cell)["solution"]):
            run(cell.source, namespace, name)
    return found


def outcome(trial, cells, state, seed, hidden=True):
    """None if a trial answer passes the tests of its part, or what they raise."""
    namespace = dict(state)
    run(trial.source, namespace, f"{trial.part}: {trial.how}")
    tests = cells[1].source if hidden else HIDDEN.sub("", cells[1].source)
    try:
        run(tests, namespace, f"{trial.part}-tests", seed)
    except Exception as problem:
        return problem
    return None
