"""A student's cells find their places in the course's own notebook, whatever happened to them."""

import nbformat
import pytest
import steps
from nbformat.v4 import new_code_cell, new_markdown_cell


def marked(cell, name, **marks):
    usual = {"grade": False, "solution": False, "locked": True, "grade_id": name}
    cell.metadata["nbgrader"] = usual | marks
    return cell


def released():
    answer = {"solution": True, "locked": False}
    return [
        marked(new_markdown_cell("Square it."), "square-statement"),
        marked(
            new_code_cell("def square(x):\n    raise NotImplementedError()"), "square", **answer
        ),
        marked(new_code_cell("assert square(2) == 4"), "square-tests", grade=True),
        marked(new_markdown_cell("Why?"), "why-statement"),
        marked(new_markdown_cell("*Write here.*"), "why", grade=True, **answer),
    ]


def master():
    cells = released()
    cells[2].source += "\nassert square(3) == 9"
    return cells


def answered():
    cells = released()
    cells[1].source = "def square(x):\n    return x * x"
    cells[4].source = "Because."
    return cells


def unmarked(cells):
    return [
        (new_code_cell if cell.cell_type == "code" else new_markdown_cell)(cell.source)
        for cell in cells
    ]


def check(cells):
    assert [steps.grade_id(c) for c in cells if steps.grade_id(c)] == [
        steps.grade_id(c) for c in master()
    ]
    assert "square(3) == 9" in next(c for c in cells if steps.grade_id(c) == "square-tests").source


def backwards(cells):
    return cells[::-1]


@pytest.mark.parametrize("change", [list, unmarked, backwards])
def test_answers_find_their_places(change):
    cells, notes = steps.rebuild(change(answered()), released(), master())
    check(cells)
    reordered = ["cells were reordered, the order was restored"]
    assert notes == (reordered if change is backwards else [])
    assert cells[1].source == "def square(x):\n    return x * x"
    assert cells[4].source == "Because."


def test_changes_are_noted_and_undone():
    cells = answered()
    cells[2].source = "pass"
    rebuilt, notes = steps.rebuild(cells, released(), master())
    check(rebuilt)
    assert notes == ["square-tests was edited, the tests were restored"]
    rebuilt, notes = steps.rebuild(answered()[2:], released(), master())
    check(rebuilt)
    assert notes == ["square was deleted"] and "NotImplemented" in rebuilt[1].source


def test_added_cells_stay_behind_the_cell_they_followed():
    cells = answered()
    cells.insert(1, new_code_cell("helper = 1"))
    rebuilt, notes = steps.rebuild(cells, released(), master())
    check(rebuilt)
    assert rebuilt[1].source == "helper = 1" and notes == []


def test_another_notebook_is_refused():
    with pytest.raises(ValueError, match="no answer cell"):
        steps.rebuild([new_code_cell("print(1)")], released(), master())


def test_feedback_without_hidden_tests():
    source = "assert True\n### BEGIN HIDDEN TESTS\nassert 1 == 2, 'slip'\n### END HIDDEN TESTS"
    cell = marked(new_code_cell(source), "square-tests", grade=True)
    failure = nbformat.v4.new_output("error", ename="AssertionError", evalue="slip")
    failure.traceback = ["----> 3 assert 1 == 2, 'slip'"]
    cell.outputs = [failure]
    cell, _ = steps.HideHiddenTests().preprocess_cell(cell, {}, 0)
    assert cell.source == "assert True"
    assert cell.outputs[0].traceback == ["AssertionError: slip"]


@pytest.mark.parametrize("source", ["### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS\nx = 1"])
def test_marks_in_an_answer_do_not_stop_the_feedback(source):
    cell = marked(new_code_cell(source), "square", solution=True)
    cell, _ = steps.HideHiddenTests().preprocess_cell(cell, {}, 0)
    assert cell.source == source
