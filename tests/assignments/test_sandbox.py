"""One notebook under limits: what is taken out, what goes on, and what the student's code sees."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from parts import ASSIGNMENTS

LIMITS = {"cell_seconds": 10, "memory_bytes": 1e9, "output_bytes": 10_000}


def execute(sources, test=(), **limits):
    """Run cells in the sandbox; the executed cells and the incidents."""
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, sources)))
    for i, cell in enumerate(notebook.cells):
        if i in test:
            cell.metadata["nbgrader"] = {"grade": True, "solution": False, "grade_id": f"test-{i}"}
    job = {"notebook": notebook, "limits": LIMITS | limits, "seed": 5}
    done = subprocess.run(
        [sys.executable, str(ASSIGNMENTS / "sandbox.py")],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"SECRET": "grader's"},
    )
    result = json.loads(done.stdout)
    return nbformat.from_dict(result["notebook"]).cells, result["incidents"]


def errors(cell):
    return [output.ename for output in cell.outputs if output.output_type == "error"]


def test_what_a_submission_sees():
    """A seed and a home of its own, nothing else of the grader's environment."""
    cells, incidents = execute(
        [
            "import os, pathlib\nprint(os.environ['GRADING_SEED'], 'SECRET' in os.environ)",
            "print(pathlib.Path.home() == pathlib.Path.cwd(), os.listdir())",
        ]
    )
    assert incidents == []
    assert cells[0].outputs[0].text == "5 False\n"
    assert cells[1].outputs[0].text.startswith("True")


def test_a_test_cell_keeps_only_errors():
    """Neither a warning nor a number below a test may be taken for a grade."""
    cells, _ = execute(
        ["import sys\nprint('no', file=sys.stderr)\n0.5", "assert False"], test=(0, 1)
    )
    assert cells[0].outputs == []
    assert errors(cells[1]) == ["AssertionError"]


def test_switched_off_tracebacks_do_not_hide_a_failure():
    cells, _ = execute(
        ["get_ipython().showtraceback = lambda *a, **k: None", "assert 1 == 2"], test=(1,)
    )
    assert errors(cells[1]) == ["AssertionError"]


@pytest.mark.parametrize(
    "code, reason",
    [
        ("while True: pass", "time limit (3 s)"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "the kernel died"),
        ("exit()", "the cell ended the kernel"),
        ("print('x' * 10**8)", "output limit"),
        ("import numpy\nx = [numpy.ones(10**7) for _ in range(10**4)]", "memory limit (1 GB)"),
    ],
)
def test_a_cell_that_breaks_a_limit_is_taken_out(code, reason):
    """The definition above the loop goes with it; the cells behind it run."""
    cells, incidents = execute(
        ["a = 1", f"b = 2\n{code}", "assert b == 2", "assert a == 1"], test=(2, 3), cell_seconds=3
    )
    assert [item["cell"] for item in incidents] == ["cell 2"]
    assert incidents[0]["reason"].startswith(reason)
    assert errors(cells[1]) == ["LimitExceeded"]
    assert errors(cells[2]) == ["NameError"] and errors(cells[3]) == []


def test_a_large_file_is_refused():
    cells, incidents = execute(
        ["f = open('x', 'wb')\nf.write(b'0' * 10**7)\nf.close()", "assert True"],
        test=(1,),
        file_bytes=10**6,
    )
    assert incidents == [] and errors(cells[0]) == ["OSError"]
    assert errors(cells[1]) == []


@pytest.mark.parametrize("limits", [{"restarts": 1, "cell_seconds": 2}, {"total_seconds": 4}])
def test_tests_that_were_not_run_do_not_pass(limits):
    cells, incidents = execute(
        ["while True: pass", "while True: pass", "while True: pass", "assert True"],
        test=(3,),
        **limits,
    )
    assert incidents[-1]["cell"] is None
    assert errors(cells[3]) == ["NotRun"]
