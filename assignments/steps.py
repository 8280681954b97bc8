"""The steps that this course adds to nbgrader's release, autograding and feedback."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.preprocessors.clearhiddentests import ClearHiddenTests
from traitlets import Dict, Float, Int, Unicode

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "source"
DEFINITION = re.compile(r"^def (\w+)\(", re.MULTILINE)
PICTURE = "expected-picture"  # the tag of a cell whose stored picture the student should see


def grade_id(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id")


class ExpectedPictures(NbGraderPreprocessor):
    """Put a master's stored picture below the cell that draws it."""

    def preprocess(self, nb, resources):
        cells = []
        for cell in nb.cells:
            cells.append(cell)
            if PICTURE in cell.metadata.get("tags", []):
                cells.append(self.picture(cell))
        nb.cells = cells
        return nb, resources

    def picture(self, cell):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                about = output["metadata"]["flatlib"]  # from fl.show
                image = "".join(data["image/png"].split())
                picture = f"![{about['alt']}](data:image/png;base64,{image})"
                text = f"What it should look like:\n\n{picture}\n\n*{about['caption']}*"
                marks = {"schema_version": 3, "grade": False, "solution": False, "task": False}
                marks |= {"locked": True, "grade_id": f"{grade_id(cell)}-expected"}
                new = nbformat.v4.new_markdown_cell(text, metadata={"nbgrader": marks})
                new.id = f"{cell.id}-expected"
                return new
        raise ValueError(f"The cell {grade_id(cell)!r} has no stored picture: execute the master.")


class RebuildFromMaster(NbGraderPreprocessor):
    """Put the student's answers into the course's own notebook, in its order, with all its tests.

    What a student did to the other cells (edited or deleted tests, another order) has no effect on
    the grade; it is noted in the notebook's metadata. Cells that the student added stay behind the
    cell that they followed.
    """

    release = Unicode(help="The folder of the released notebooks").tag(config=True)

    def preprocess(self, nb, resources):
        name, assignment = resources["nbgrader"]["notebook"], resources["nbgrader"]["assignment"]
        master = nbformat.read(SOURCE / assignment / f"{name}.ipynb", as_version=4)
        release = nbformat.read(Path(self.release) / assignment / f"{name}.ipynb", as_version=4)
        release.cells, notes = rebuild(nb.cells, release.cells, master.cells)
        release.metadata["grading"] = {"notes": notes}
        return release, resources


def rebuild(submitted, release, master):
    """The cells to grade, and notes on what the student changed.

    Raises
    ------
    ValueError if the submission has no answer cell of this assignment.
    """
    tests = {grade_id(cell): cell.source for cell in master if cell.metadata["nbgrader"]["grade"]}
    names = recognise(submitted, release)
    theirs, added, anchor, notes = {}, {}, None, []
    for cell, name in zip(submitted, names, strict=True):
        if name is None:
            added.setdefault(anchor, []).append(cell)
            continue
        if name in theirs:
            notes.append(f"{name} stands twice, the last one counts")
        theirs[name], anchor = cell, name
    answers = {grade_id(cell) for cell in release if cell.metadata["nbgrader"]["solution"]}
    if answers.isdisjoint(theirs):
        raise ValueError("no answer cell of this assignment is in the notebook")
    order = [grade_id(cell) for cell in release if grade_id(cell) in theirs]
    if list(theirs) != order:  # a dictionary keeps the order in which names were first seen
        notes.append("cells were reordered, the order was restored")
    cells = [plain(cell) for cell in added.get(None, [])]
    for cell in release:
        name, marks = grade_id(cell), cell.metadata["nbgrader"]
        own = theirs.get(name)
        if own is None and (marks["solution"] or marks["grade"]):
            notes.append(f"{name} was deleted")
        elif marks["solution"]:
            cell.source = own.source
        elif marks["grade"] and own.source.strip() != cell.source.strip():
            notes.append(f"{name} was edited, the tests were restored")
        if marks["grade"] and not marks["solution"]:
            cell.source = tests[name]  # with the hidden tests
        cells += [cell, *(plain(other) for other in added.get(name, []))]
    return cells, notes


def recognise(submitted, release):
    """The grade_id of each submitted cell, or None for a cell that the student added.

    Some editors lose the marks, and so does copying a cell's text into a new one. A cell without
    marks is recognised by its text; an answer by the function that it defines, and an answer in
    words by the statement above it.
    """
    marked = {grade_id(cell) for cell in release}
    names = [grade_id(cell) if grade_id(cell) in marked else None for cell in submitted]
    missing = [cell for cell in release if grade_id(cell) not in names]
    texts = {cell.source.strip(): grade_id(cell) for cell in missing}
    answers = [cell for cell in missing if cell.metadata["nbgrader"]["solution"]]
    functions = {}
    for cell in answers:
        if found := DEFINITION.search(cell.source):
            functions[found[1]] = grade_id(cell)
    for i, cell in enumerate(submitted):
        if names[i] is not None:
            continue
        above = names[i - 1] if i else None
        if cell.source.strip() in texts:
            names[i] = texts[cell.source.strip()]
        elif cell.cell_type == "code":
            defined = [name for name in DEFINITION.findall(cell.source) if name in functions]
            names[i] = functions[defined[0]] if defined else None
        elif above is not None and any(above == f"{grade_id(cell)}-statement" for cell in answers):
            names[i] = above.removesuffix("-statement")
    return names


def plain(cell):
    """A cell that the student added, without marks or outputs."""
    make = {"code": nbformat.v4.new_code_cell, "raw": nbformat.v4.new_raw_cell}
    return make.get(cell.cell_type, nbformat.v4.new_markdown_cell)(cell.source)


class ExecuteWithinLimits(NbGraderPreprocessor):
    """Run the notebook in the sandbox, and note there what happened."""

    seed = Int(help="The seed of the hidden tests' instances").tag(config=True)
    limits = Dict(value_trait=Float(), help="Limits that differ from those of sandbox.Limits").tag(
        config=True
    )
    container = Unicode(
        help="A command that runs `python sandbox.py` elsewhere, such as 'docker run -i ... IMAGE'"
    ).tag(config=True)

    def preprocess(self, nb, resources):
        job = {"notebook": nb, "limits": self.limits, "seed": self.seed}
        command = shlex.split(self.container) or [sys.executable, str(HERE / "sandbox.py")]
        done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the sandbox failed: {done.stderr.strip()[-500:]}")
        result = json.loads(done.stdout)
        executed = nbformat.from_dict(result["notebook"])
        executed.metadata["grading"] |= {"incidents": result["incidents"], "seed": self.seed}
        return executed, resources


class HideHiddenTests(ClearHiddenTests):
    """Keep hidden tests, and what tracebacks show of them, out of the release and the feedback.

    Only test cells are looked at: a student may have written the marks into an answer.
    """

    def preprocess_cell(self, cell, resources, cell_index):
        marks = cell.metadata.get("nbgrader", {})
        if marks.get("solution") or not marks.get("grade"):
            return cell, resources
        before = cell.source
        cell, resources = super().preprocess_cell(cell, resources, cell_index)
        if cell.source != before:
            cell.source = cell.source.rstrip()
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    output.traceback = [f"{output.ename}: {output.evalue}"]
        return cell, resources
