"""Grade the submissions of a class within limits, and export the grades with a status.

A class is a folder outside the repository: submitted/STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb. nbgrader
keeps its gradebook there, so its formgrader shows the same grades and takes those of the parts that
a person reads. grades.csv has one row for each submission, and the score is empty where there is no
honest number: a broken file is not a zero.
"""

import concurrent.futures
import csv
import json
import time
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook, MissingEntry
from release import assignments, nbgrader, nbgrader_in, release
from tqdm import tqdm

LARGEST_FILE = 20_000_000  # bytes
COLUMNS = ["student", "assignment", "status", "score", "max_score", "automatic", "automatic_max"]
COLUMNS += ["awaiting_points", "notes"]


def grade(folder, names=None, *, seed, jobs=2, regrade=False, container="", limits=None):
    """Grade what is in `folder`, write grades.csv there, and print a line for each status.

    Raises
    ------
    ValueError for an unknown assignment, or a folder without submissions of those asked for.
    """
    folder = Path(folder).resolve()
    names = selected(names)
    todo = [
        (path.parent.name, path.name)
        for path in sorted(folder.glob("submitted/*/*"))
        if path.is_dir() and path.name in names
    ]
    if not todo:
        raise ValueError(f"There is no submitted/STUDENT/ASSIGNMENT folder in {folder}.")
    present = sorted({name for _, name in todo})
    release(present, folder)  # the points, and the notebooks into which the answers are put
    options = [
        f"--ExecuteWithinLimits.seed={seed}",
        f"--ExecuteWithinLimits.container={container}",
        *(f"--ExecuteWithinLimits.limits={key}={value}" for key, value in (limits or {}).items()),
    ]
    failures = {}
    start = time.perf_counter()
    with nbgrader_in(folder, jobs) as pool:
        running = {}
        for student, name in todo:
            failures[student, name] = problem = unreadable(folder, student, name)
            if problem is None and (regrade or not up_to_date(folder, student, name, seed)):
                arguments = [name, f"--student={student}", "--force", *options]
                running[pool.submit(nbgrader, "AutogradeApp", *arguments)] = (student, name)
        waiting = concurrent.futures.as_completed(running)
        for future in tqdm(waiting, total=len(running), desc="graded", unit=" submissions"):
            failures[running[future]] = failure(folder, *running[future], *future.result())
    rows = [row(folder, *item, failures[item]) for item in todo]
    with open(folder / "grades.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    report(rows, time.perf_counter() - start, folder)


def feedback(folder, names=None):
    """Write feedback/STUDENT/ASSIGNMENT/*.html for all that is graded."""
    folder = Path(folder).resolve()
    for name in selected(names):
        if list(folder.glob(f"autograded/*/{name}")):
            with nbgrader_in(folder) as pool:
                work = pool.submit(nbgrader, "GenerateFeedbackApp", name, "--force")
                log, passed = work.result()
            if not passed:
                raise RuntimeError(f"nbgrader could not write the feedback of {name}:\n{log}")
    print(f"The feedback is in {folder / 'feedback'}.")


def selected(names):
    unknown = set(names or []) - set(assignments())
    if unknown:
        raise ValueError(f"Unknown {sorted(unknown)}; the assignments are {assignments()}.")
    return names or assignments()


def unreadable(folder, student, name):
    """Why a submission cannot be graded at all, or None."""
    place = folder / "submitted" / student / name
    path = place / f"{name}.ipynb"
    if not path.exists():
        others = [p.name for p in place.iterdir()]
        if not others:
            return "nothing was submitted"
        return f"there is no {name}.ipynb, but {', '.join(sorted(others)[:3])}"
    if path.stat().st_size > LARGEST_FILE:
        return f"the file is larger than {LARGEST_FILE / 1e6:g} MB"
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(notebook)
    except UnicodeDecodeError:
        return "the file is not text"
    except Exception as problem:  # nbformat raises many kinds for a file that is no notebook
        return f"the file is not a notebook ({type(problem).__name__})"
    return None


def up_to_date(folder, student, name, seed):
    """Whether this file was graded before, with this seed."""
    graded = folder / "autograded" / student / name / f"{name}.ipynb"
    submitted = folder / "submitted" / student / name / f"{name}.ipynb"
    if not graded.exists() or graded.stat().st_mtime < submitted.stat().st_mtime:
        return False
    return json.loads(graded.read_text())["metadata"]["grading"].get("seed") == seed


def failure(folder, student, name, log, passed):
    """Why nbgrader did not grade a submission, or None; its log is kept."""
    if passed:
        return None
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "logs" / f"{student}-{name}.txt").write_text(log)
    lines = [line.strip() for line in log.splitlines()]
    errors = [line for line in lines if line.startswith(("ValueError: ", "RuntimeError: "))]
    return errors[-1].split(": ", 1)[1] if errors else f"see logs/{student}-{name}.txt"


def row(folder, student, name, problem):
    """One line of the table."""
    blank = dict.fromkeys(COLUMNS, "") | {"student": student, "assignment": name}
    if problem:
        missing = problem == "nothing was submitted"
        return blank | {"status": "missing" if missing else "not graded", "notes": problem}
    path = folder / "autograded" / student / name / f"{name}.ipynb"
    grading = json.loads(path.read_text())["metadata"]["grading"]
    incidents = [
        f"{item['cell']}: {item['reason']}" if item["cell"] else item["reason"]
        for item in grading["incidents"]
    ]
    notes = "; ".join(incidents + grading["notes"])
    if any(item["cell"] is None for item in grading["incidents"]):
        return blank | {"status": "not graded", "notes": notes}
    status = "graded in part" if incidents else "graded"
    return blank | {"status": status, "notes": notes} | points(folder, student, name)


def points(folder, student, name):
    """The numbers of one submission, from the gradebook."""
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}", "flat-minima") as gradebook:
        try:
            submission = gradebook.find_submission(name, student)
        except MissingEntry:
            raise RuntimeError(f"The gradebook has no submission of {student}.") from None
        grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
        solutions = gradebook.find_notebook(name, name).solution_cells
        by_hand = {cell.name for cell in solutions}  # an answer that carries points itself
        automatic = [grade for grade in grades if grade.name not in by_hand]
        waiting = sum(g.max_score for g in grades if g.needs_manual_grade)
        return {
            "score": f"{submission.score:g}",
            "max_score": f"{submission.max_score:g}",
            "automatic": f"{sum(g.auto_score or 0 for g in automatic):g}",
            "automatic_max": f"{sum(g.max_score for g in automatic):g}",
            "awaiting_points": f"{waiting:g}",
        }


def report(rows, seconds, folder):
    counts = {}
    for line in rows:
        counts[line["status"]] = counts.get(line["status"], 0) + 1
    print(f"{len(rows)} submissions in {seconds:.0f} s:", end=" ")
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    for line in rows:
        if line["status"] != "graded" or line["notes"]:
            print(f"  {line['student']}, {line['assignment']}: {line['status']}; {line['notes']}")
    print(f"The grades are in {folder / 'grades.csv'}.")
