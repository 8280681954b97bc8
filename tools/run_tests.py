"""Run everything that CI runs, stage by stage, and end with a summary.

Usage: python tools/run_tests.py [STAGE ...]     all stages when none is named
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import browser

ROOT = Path(__file__).resolve().parents[1]
PYTHON = [sys.executable, "-m"]
# Two processes, each with its own kernel: a notebook spends much of its time compiling on one core.
PARALLEL = ["-n", "2", "--dist", "loadfile"]
PAGE_TESTS = [f"tests/test_{about}.py" for about in ("extensions", "book", "publication", "site")]
PDF_TESTS = "tests/test_pdf.py"
ASSIGNMENT_TESTS = "tests/assignments"
FORM_TESTS = ["tests/test_notebooks.py", "tests/test_repository.py"]

# The masters of the assignments are in the private repository only.
NOTEBOOKS = [name for name in ("notebooks", "assignments/source") if (ROOT / name).exists()]

STAGES = {
    "lint": [[*PYTHON, "ruff", "check", "."], [*PYTHON, "ruff", "format", "--check", "."]],
    "form": [[*PYTHON, "pytest", *FORM_TESTS]],
    "library": [
        [*PYTHON, "pytest", "tests", *PARALLEL]
        + [f"--ignore={path}" for path in [*FORM_TESTS, *PAGE_TESTS, PDF_TESTS, ASSIGNMENT_TESTS]]
    ],
    # Warnings of the tools that run the kernels are not ours to mend.
    "notebooks": [
        [*PYTHON, "pytest", "--nbval", *NOTEBOOKS, *PARALLEL, "-o", "filterwarnings=default"]
    ],
    "book": [["make", "--no-print-directory", "book"]],
    "pages": [[*PYTHON, "pytest", *PAGE_TESTS, "-n", "2"]],
    "pdf": [["make", "--no-print-directory", "pdf"], [*PYTHON, "pytest", PDF_TESTS]],
    "assignments": [[*PYTHON, "pytest", ASSIGNMENT_TESTS, *PARALLEL]],
    "colab": [[sys.executable, "tools/colab.py"]],
}


def main(names):
    unknown = set(names) - set(STAGES)
    if unknown:
        sys.exit(f"Unknown stages {sorted(unknown)}; there are: {', '.join(STAGES)}")
    if not (ROOT / ASSIGNMENT_TESTS).exists():
        STAGES.pop("assignments")
    outcomes = {name: run(name) for name in STAGES if not names or name in names}
    print("\nSummary")
    for name, (passed, seconds) in outcomes.items():
        print(f"  {name:<10} {'passed' if passed else 'FAILED':<7} {seconds:6.0f} s")
    failed = sum(not passed for passed, _ in outcomes.values())
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed else 0


def run(name):
    """Run one stage; whether it passed, and how many seconds it took."""
    print(f"\n=== {name} ===", flush=True)
    start = time.perf_counter()
    prepare(name)
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    codes = [
        subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL).returncode
        for command in STAGES[name]
    ]
    return not any(codes), time.perf_counter() - start


def prepare(name):
    """What a stage needs beyond the virtual environment."""
    if name == "book":  # built afresh, so that no warning hides in a cache
        shutil.rmtree(ROOT / "_build", ignore_errors=True)
    if name in ("library", "pages", "pdf") and not browser.find():
        # Where this fails it says what is missing, and so do the tests that need a browser.
        subprocess.run([ROOT / "tools" / "apt.sh", "chromium", "a browser to check the pages with"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
