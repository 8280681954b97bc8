"""The assignments judge mathematics: right answers in any form pass, plausible wrong ones fail.

All answers run in this process, against the masters' own cells. The kernels, the release and the
grading of a class are test_class.py's.
"""

import functools

import jax
import matplotlib
import pytest
from parts import automatic, marks, master, names, outcome, run, states, trials

matplotlib.use("Agg")
SEEDS = (0, 20261129)
PARTS = [(name, part) for name in names() for part in automatic(master(name))]


@pytest.fixture(autouse=True)
def compiled():
    """Hundreds of answers compile for themselves: without this their code fills the memory."""
    yield
    jax.clear_caches()


@functools.cache
def prepared(name):
    notebook = master(name)
    return automatic(notebook), states(notebook), trials(name)


@pytest.mark.parametrize("name, part", PARTS)
def test_answers(name, part):
    """The trial answers of one part: at least two right, three wrong, one of them only just."""
    parts, found, every = prepared(name)
    chosen = [trial for trial in every if trial.part == part]
    right = [trial for trial in chosen if trial.right]
    wrong = [trial for trial in chosen if not trial.right]
    assert len(right) >= 2 and len(wrong) >= 3
    for seed in SEEDS:
        for trial in right:
            problem = outcome(trial, parts[part], found[part], seed)
            assert problem is None, f"{trial.how}, seed {seed}: {problem!r}"
        for trial in wrong:
            problem = outcome(trial, parts[part], found[part], seed)
            assert problem is not None, f"passes: {trial.how}, seed {seed}"
            assert not isinstance(problem, NameError | SyntaxError | ImportError), trial.how
    unseen = [
        trial
        for trial in wrong
        if outcome(trial, parts[part], found[part], 0, hidden=False) is None
    ]
    assert unseen, "no wrong answer needs the hidden tests"


@pytest.mark.parametrize("name, part", PARTS)
def test_the_master_passes_for_other_seeds(name, part):
    parts, found, _ = prepared(name)
    for seed in range(1, 4):
        namespace = dict(found[part])
        run(parts[part][0].source, namespace, part)
        run(parts[part][1].source, namespace, f"{part}-tests", seed)


@pytest.mark.parametrize("name", names())
def test_form(name):
    """Points, parts and marks of a master, and trial answers for no part but its own."""
    notebook = master(name)
    cells = [(marks(cell)["grade_id"], cell) for cell in notebook.cells]
    graded = [cell for _, cell in cells if marks(cell)["grade"]]
    assert len({grade_id for grade_id, _ in cells}) == len(cells)
    assert 8 <= len(graded) <= 12
    assert sum(marks(cell)["points"] for cell in graded) == 50
    parts = automatic(notebook)
    assert sum(marks(tests)["points"] for _, tests in parts.values()) >= 30
    for part, (answer, tests) in parts.items():
        assert marks(answer)["solution"] and not marks(answer)["grade"], part
        assert "### BEGIN SOLUTION" in answer.source, part
        visible = tests.source.split("### BEGIN HIDDEN TESTS")[0]
        assert "assert " in visible and "GRADING_SEED" in tests.source, part
        assert tests.outputs == [], f"{part} prints"
    assert {trial.part for trial in trials(name)} == set(parts)


def test_every_part_is_tried():
    assert len(names()) == 5
    assert len(PARTS) >= 40
