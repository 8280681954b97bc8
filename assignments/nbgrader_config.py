"""nbgrader's configuration: our own steps for release, autograding and feedback.

The folder of a class (submissions, grades, gradebook) is no part of the repository. CLASS_FOLDER
names it, and `make grade CLASS=...` sets that. nbgrader's own commands, run in this folder, find
this file: `CLASS_FOLDER=... nbgrader list`, or `jupyter lab` for the formgrader.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import steps  # noqa: E402

c = get_config()  # noqa: F821

root = Path(os.environ.get("CLASS_FOLDER", HERE / "class")).resolve()
c.CourseDirectory.course_id = "flat-minima"
c.CourseDirectory.root = str(root)
c.CourseDirectory.source_directory = str(HERE / "source")
# Several graders write into one file: they wait for one another.
c.CourseDirectory.db_url = f"sqlite:///{root / 'gradebook.db'}?timeout=120"

c.GenerateAssignment.preprocessors = [
    steps.ExpectedPictures,
    "nbgrader.preprocessors.LockCells",
    "nbgrader.preprocessors.ClearSolutions",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.CheckCellMetadata",
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.SaveCells",
    steps.HideHiddenTests,
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.ClearSolutions.text_stub = "*Write your answer here.*"
c.RebuildFromMaster.release = str(root / "release")
c.Autograde.sanitize_preprocessors = [steps.RebuildFromMaster]
c.Autograde.autograde_preprocessors = [
    steps.ExecuteWithinLimits,
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
]
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    steps.HideHiddenTests,
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
