"""Run all benchmarks in turn and write the page RESULTS.md beside this file.

    python benchmarks [SECTION ...]     such as traces; the page is written when all sections run

First it installs requirements-bench.txt. What does not install costs its rows, not the page.
"""

import datetime
import importlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE.parent / "requirements-bench.txt"
SECTIONS = ("solvers", "traces", "robust_pca", "scaling")
ALWAYS_THERE = ("flat-minima-course", "jax", "jaxlib", "matfree", "numpy", "scipy")
ALWAYS_THERE += ("cvxpy", "scs", "clarabel")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
PATIENCE = 900  # seconds for one installation

HEAD = """\
# Benchmarks

`make bench` writes this page: all its numbers come from one run on one machine. It compares
flatlib with other solvers and estimators, and says where flatlib loses. Times depend on the
machine: read the ratios.

All programs run on one core, in turn, in one process for each section; the clock is the CPU
time of that process. On one core it is the wall time of an idle machine, nearly whatever else
the machine is doing. Times are medians of several runs, and compilation is never part of them.
Everything is in float64 on the CPU. An answer counts when its true error is below 1e-6.
"""


def requirements():
    """Name and requirement of each line of requirements-bench.txt."""
    for line in REQUIREMENTS.read_text().splitlines():
        if wanted := line.split("#")[0].strip():
            yield re.match(r"[\w-]+", wanted)[0], wanted


def install():
    """Install what is missing, changing no version that is there; name to reason for failures."""
    frozen = subprocess.run([*PIP, "freeze", "--exclude-editable"], capture_output=True, text=True)
    kept = [line for line in frozen.stdout.splitlines() if re.fullmatch(r"[\w.-]+==\S+", line)]
    missing = {name: wanted for name, wanted in requirements() if not common.version(name)}
    failures = {}
    for name, wanted in missing.items():
        print(f"Installing {wanted}", file=sys.stderr, flush=True)
        others = [line for other, line in missing.items() if other != name]
        if complaint := pip_install(wanted, kept + others):
            failures[name] = complaint
    importlib.invalidate_caches()
    return failures


def pip_install(wanted, constraints):
    """Install one requirement under constraints; what pip complains of, or None."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(constraints))
        file.flush()
        arguments = ["install", "-q", "--retries", "1", "--timeout", "20", "-c", file.name, wanted]
        try:
            done = subprocess.run(
                [*PIP, *arguments], capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            return f"pip took more than {PATIENCE} s"
    if done.returncode == 0:
        return None
    errors = re.findall(r"^ERROR: (.*)", done.stderr, re.MULTILINE)
    # What follows a colon or a bracket is about paths and hosts of this machine.
    return re.split(r" \(|:", (errors or ["pip failed"])[0])[0]


def head(failures):
    """The first lines of the page: what was run on what, and what could not be installed."""
    names = [*ALWAYS_THERE, *(name for name, _ in requirements())]
    found = {name: common.version(name) for name in names}
    there = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    yield HEAD
    yield f"- {datetime.datetime.now(datetime.UTC):%Y-%m-%d}; {common.machine()}"
    yield f"- Python {sys.version.split()[0]}; {there}"
    for name, version in found.items():
        if not version:
            yield f"- not installed: {name} ({failures.get(name, 'reason unknown')})"
    yield ""


def run(section):
    """The lines that a section prints; the last is a complaint if the section failed."""
    with tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, HERE / f"{section}.py"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            for line in process.stdout:
                yield line.rstrip("\n")
        errors.seek(0)
        complaints = errors.read().strip()
    print(complaints, file=sys.stderr, flush=True)
    yield ""
    if process.returncode:
        yield f"**The section {section} did not finish**: {complaints.splitlines()[-1:]}\n"


def main(names):
    unknown = set(names) - set(SECTIONS)
    if unknown:
        sys.exit(f"Unknown sections {sorted(unknown)}; there are: {', '.join(SECTIONS)}")
    page, times = [], {}

    def write(line):
        print(line, flush=True)
        page.append(line)

    for line in head(install()):
        write(line)
    for section in names or SECTIONS:
        start = time.monotonic()
        for line in run(section):
            write(line)
        times[section] = time.monotonic() - start
    took = ", ".join(f"{section} {seconds:.0f} s" for section, seconds in times.items())
    write(f"The sections took (wall time, compilation included): {took}.")
    if not names:
        (HERE / "RESULTS.md").write_text(re.sub(r"\n{3,}", "\n\n", "\n".join(page)) + "\n")
    return any("did not finish" in line for line in page)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
