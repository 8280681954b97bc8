"""What all benchmarks share: one core, one clock, medians, and tables in Markdown.

Import it before anything that starts threads. All competitors of a table run in turn in one
process on one core; the clock is the CPU time of that process, which on one core is the wall time
of an idle machine, whatever else this one is doing.
"""

import importlib.metadata
import os
import platform
import statistics
import time
from pathlib import Path

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)

ACCURACY = 1e-6  # relative error that counts as an answer


def cpu_seconds(call):
    """CPU seconds of one call, synchronised, and what it returns."""
    start = time.process_time()
    value = jax.block_until_ready(call())
    return time.process_time() - start, value


def median_seconds(call, repeats):
    """Median of the CPU seconds of the calls, and what the last one returned."""
    runs = [cpu_seconds(call) for _ in range(repeats)]
    return statistics.median(seconds for seconds, _ in runs), runs[-1][1]


def solves_to_pay(first, ours, theirs):
    """Number of equal problems from which our compilation has paid for itself, in words.

    The least n with first + (n - 1) ours <= n theirs.
    """
    if theirs <= ours:
        return "never"
    return f"{max(1, -int(-(first - ours) // (theirs - ours))):,}"


def milliseconds(seconds):
    """Three digits, in ms."""
    value = 1e3 * seconds
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def ratio(value):
    """Two digits and a times sign; nothing where there is nothing to compare with."""
    if value != value:
        return ""
    return f"{value:.0f}×" if value >= 9.95 else f"{value:.2g}×"


class Table:
    """A Markdown table that is printed row by row, as the results come in."""

    def __init__(self, *columns):
        print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)

    def row(self, *cells):
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def version(distribution):
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def machine():
    """Processor, number of cores, operating system and load, on one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}{load}"
