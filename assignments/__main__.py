"""Release the assignments and grade a class; `make help` lists the commands that call this.

python assignments release                         the student's notebooks, into release/
python assignments grade CLASS [--assignment ...]  grade every submission, write grades.csv
python assignments feedback CLASS                  one page for each student
python assignments public FOLDER                   the course without masters, to be published
"""

import argparse
import sys
from pathlib import Path

import grading
import release


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python assignments",
        description="Release the assignments and grade a class.",
        epilog="Grading runs the code of students. assignments/README.md shows how to keep it in a "
        "container.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("release", help="make the student's notebooks from the masters")
    grade = commands.add_parser("grade", help="grade the submissions of a class")
    feedback = commands.add_parser("feedback", help="write a page of feedback for each student")
    for command in (grade, feedback):
        command.add_argument("folder", type=Path, help="the class: submitted/STUDENT/ASSIGNMENT/")
        command.add_argument("--assignment", action="append", help="all when none is named")
    grade.add_argument("--seed", type=int, required=True, help="of the hidden tests' instances")
    grade.add_argument("--jobs", type=int, default=2, help="submissions at the same time")
    grade.add_argument("--regrade", action="store_true", help="also what is already graded")
    grade.add_argument("--container", default="", help="command that runs the sandbox elsewhere")
    grade.add_argument("--cell-seconds", type=float, default=60)
    grade.add_argument("--total-seconds", type=float, default=600)
    grade.add_argument("--memory-gb", type=float, default=3)
    public = commands.add_parser("public", help="what may be published, with the student's release")
    public.add_argument(
        "folder", type=Path, help="a new folder, or a clone of the public repository"
    )
    given = parser.parse_args(arguments)
    try:
        if given.command == "release":
            release.release()
        elif given.command == "public":
            release.publish(given.folder)
        elif given.command == "feedback":
            grading.feedback(given.folder, given.assignment)
        else:
            limits = {
                "cell_seconds": given.cell_seconds,
                "total_seconds": given.total_seconds,
                "memory_bytes": int(given.memory_gb * 1e9),
            }
            grading.grade(
                given.folder,
                given.assignment,
                seed=given.seed,
                jobs=given.jobs,
                regrade=given.regrade,
                container=given.container,
                limits=limits,
            )
    except (ValueError, OSError, RuntimeError) as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
