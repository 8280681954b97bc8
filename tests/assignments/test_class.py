"""A class of thirty is graded to its end in one command, hostile submissions among them."""

import copy
import csv
import json
import random
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import grading
import nbformat
import pytest
import release
from parts import ASSIGNMENTS, automatic, marks, master, names, trials

ROOT = ASSIGNMENTS.parent
NAME = names()[0]
SEED = 7


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The student's notebooks, by assignment."""
    folder = tmp_path_factory.mktemp("released")
    release.release(folder=folder)
    return {
        name: nbformat.read(folder / "release" / name / f"{name}.ipynb", as_version=4)
        for name in names()
    }


def grade(folder, *options):
    """Grade a class by the command; the rows of grades.csv, by student."""
    command = [sys.executable, "assignments", "grade", str(folder), f"--seed={SEED}", *options]
    subprocess.run(command, cwd=ROOT, check=True)
    with open(folder / "grades.csv", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def hand_in(folder, student, name, notebook):
    place = folder / "submitted" / student / name
    place.mkdir(parents=True)
    nbformat.write(notebook, place / f"{name}.ipynb")


def solutions(name):
    return {marks(c)["grade_id"]: c.source for c in master(name).cells if marks(c)["solution"]}


def cell(notebook, name):
    return next(c for c in notebook.cells if marks(c)["grade_id"] == name)


def submission(notebook, answers):
    """A copy of the student's notebook with answers in it."""
    notebook = copy.deepcopy(notebook)
    for name, source in answers.items():
        cell(notebook, name).source = source
    return notebook


def honest(number, parts, every):
    """Answers chosen at random among the trials, and the points that they deserve."""
    choose = random.Random(number)
    answers, points = {}, 0
    for part, (_, tests) in parts.items():
        trial = choose.choice([t for t in every if t.part == part])
        answers[part] = trial.source
        points += marks(tests)["points"] * trial.right
    return answers, points


def spoiled(first):
    """{student: (code after the right answer of the first part, what the notes must say)}."""
    return {
        "endless": ("while True: pass", "time limit"),
        "stubborn": (
            "import time\nwhile True:\n    try:\n        time.sleep(1)\n"
            "    except BaseException:\n        pass",
            "time limit",
        ),
        "dead": ("import os\nos._exit(0)", "the kernel died"),
        "quitter": ("quit()", "the cell ended the kernel"),
        "talker": ("print('x' * 10**9)", "output limit"),
        "chatter": ("for i in range(10**9): print('hello' * 100)", "output limit"),
        "hoarder": (
            "import numpy as np\nheld = [np.ones(10**7) for _ in range(10**4)]",
            "memory limit",
        ),
    }


@pytest.fixture(scope="module")
def graded(released, tmp_path_factory):
    """Submissions of thirty students, graded by the command; expected points, and the rows."""
    folder = tmp_path_factory.mktemp("class")
    notebook, answers = released[NAME], solutions(NAME)
    parts, every = automatic(master(NAME)), trials(NAME)
    points = {part: marks(tests)["points"] for part, (_, tests) in parts.items()}
    total = sum(points.values())
    first, second = list(points)[:2]
    expected = {}

    def expect(student, notebook, score, **other):
        hand_in(folder, student, NAME, notebook)
        expected[student] = {"automatic": score} | other

    expect("master", submission(notebook, answers), total)
    expect("untouched", notebook, 0)
    for number in range(11):
        chosen, score = honest(number, parts, every)
        expect(f"honest{number:02d}", submission(notebook, chosen), score)
    for student, (code, note) in spoiled(first).items():
        after = submission(notebook, answers | {first: f"{answers[first]}\n\n{code}\n"})
        expect(student, after, total - points[first], status="graded in part", note=note)
    exits = answers | {first: f"{answers[first]}\n\nimport sys\nsys.exit()\n"}
    expect("exit", submission(notebook, exits), total)
    loop = submission(notebook, answers)
    at = loop.cells.index(cell(loop, first))
    loop.cells.insert(at, nbformat.v4.new_code_cell("while True: pass"))
    expect("scratch", loop, total, status="graded in part", note="time limit")
    shuffled = submission(notebook, answers)
    random.Random(0).shuffle(shuffled.cells)
    expect("shuffled", shuffled, total, note="reordered")
    without = submission(notebook, answers)
    without.cells.remove(cell(without, f"{first}-tests"))
    without.cells.remove(cell(without, second))
    expect("deleted", without, total - points[second], note=f"{second} was deleted")
    cheat = submission(notebook, {first: "pass"})
    for name in points:
        cell(cheat, f"{name}-tests").source = "pass"
    expect("cheat", cheat, 0, note="the tests were restored")
    broken = {"broken": b'{"cells": [', "binary": b"\xff\xfe\x00", "other": None, "empty": None}
    broken["named"] = None
    for student, content in broken.items():
        place = folder / "submitted" / student / NAME
        place.mkdir(parents=True)
        if content:
            (place / f"{NAME}.ipynb").write_bytes(content)
    shutil.copy(ROOT / "notebooks" / "01_interpolators.ipynb", folder / "other.ipynb")
    shutil.move(folder / "other.ipynb", folder / "submitted" / "other" / NAME / f"{NAME}.ipynb")
    (folder / "submitted" / "named" / NAME / "homework.ipynb").write_text("{}")
    return folder, expected, grade(folder, "--memory-gb=2.5")


def test_every_honest_score_is_right(graded):
    _, expected, rows = graded
    assert len(rows) == 30
    for student, facts in expected.items():
        row = rows[student]
        assert row["automatic"] == f"{facts['automatic']:g}", (student, row)
        assert row["status"] == facts.get("status", "graded"), (student, row)
        assert facts.get("note", "") in row["notes"], (student, row)


def test_what_cannot_be_graded_has_a_reason_and_no_score(graded):
    _, _, rows = graded
    reasons = {
        "broken": "not a notebook",
        "binary": "not text",
        "other": "no answer cell",
        "named": "homework.ipynb",
        "empty": "nothing was submitted",
    }
    for student, reason in reasons.items():
        row = rows[student]
        assert row["status"] == ("missing" if student == "empty" else "not graded")
        assert row["score"] == row["automatic"] == "" and reason in row["notes"], row


def test_a_run_that_was_ended_has_no_score(tmp_path):
    """The sandbox gave up: the row names the reason, and the gradebook is not even asked."""
    place = tmp_path / "autograded" / "student" / NAME
    place.mkdir(parents=True)
    incidents = [{"cell": "a", "reason": "time limit"}, {"cell": None, "reason": "too many"}]
    metadata = {"grading": {"incidents": incidents, "notes": []}}
    (place / f"{NAME}.ipynb").write_text(json.dumps({"metadata": metadata}))
    row = grading.row(tmp_path, "student", NAME, None)
    assert row["status"] == "not graded" and row["notes"] == "a: time limit; too many"
    assert row["score"] == row["automatic"] == ""


def test_answers_by_hand_await_a_grader(graded):
    _, _, rows = graded
    by_hand = 50 - float(rows["master"]["automatic_max"])
    assert by_hand > 0
    assert float(rows["master"]["awaiting_points"]) == by_hand
    assert float(rows["untouched"]["awaiting_points"]) == 0
    assert rows["master"]["max_score"] == "50"


def test_a_second_run_grades_nothing_again(graded):
    folder, _, rows = graded
    stamps = {p: p.stat().st_mtime for p in folder.glob("autograded/*/*/*.ipynb")}
    place = Path("submitted") / "empty" / NAME / f"{NAME}.ipynb"
    shutil.copy(folder / "submitted" / "untouched" / NAME / f"{NAME}.ipynb", folder / place)
    again = grade(folder)
    assert all(path.stat().st_mtime == stamp for path, stamp in stamps.items())
    assert again.pop("empty")["automatic"] == "0"
    assert again == {student: row for student, row in rows.items() if student != "empty"}


def test_feedback_keeps_the_hidden_tests(graded):
    folder, _, _ = graded
    command = [sys.executable, "assignments", "feedback", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    pages = list(folder.glob("feedback/*/*/*.html"))
    assert len(pages) >= 25
    for page in pages:
        text = page.read_text()
        assert "hidden_tests" not in text and "GRADING_SEED" not in text, page


def test_masters_earn_all_points_and_untouched_notebooks_none(released, tmp_path):
    """All assignments; the sandbox runs by a command of its own, as it does in a container."""
    for name, notebook in released.items():
        hand_in(tmp_path, f"master-{name}", name, submission(notebook, solutions(name)))
        hand_in(tmp_path, f"untouched-{name}", name, notebook)
    sandbox = shlex.join(["env", sys.executable, str(ASSIGNMENTS / "sandbox.py")])
    rows = grade(tmp_path, f"--container={sandbox}")
    assert len(rows) == 2 * len(names())
    for name in names():
        full, none = rows[f"master-{name}"], rows[f"untouched-{name}"]
        assert full["status"] == none["status"] == "graded"
        assert full["automatic"] == full["automatic_max"] and none["score"] == "0"
        by_hand = float(full["max_score"]) - float(full["automatic"])
        assert float(full["awaiting_points"]) == by_hand > 0 == float(none["awaiting_points"])
