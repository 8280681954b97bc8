"""Execute one notebook of a student within limits of time, memory, output and file size.

    python sandbox.py < job.json > result.json

A job is {"notebook": ..., "limits": {...}, "seed": ...}; the result has the executed notebook and
the list of incidents. The script needs no file but itself and the interpreter's packages: it can
run in a container without network and without a view of the gradebook (see Containerfile).

Policy. A cell that breaks a limit or ends its kernel is taken out, as though it were not in the
notebook, and the notebook is run again in a new kernel without it. So an endless loop after a
right answer, in the same cell, costs that answer and no other. With more than `restarts` such
cells, or beyond the time of the whole notebook, nothing counts, and every cell carries an error:
a test that was not run is never a pass.
"""

import contextlib
import dataclasses
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError

TOO_LONG = "time limit of the whole notebook"
KEPT = ("PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "TZ")  # nothing else of the grader's environment

# Runs in the kernel before the student's cells. What is printed must be stopped at its source: a
# gigabyte that has reached this process has already been copied a few times.
PRELUDE = """
def _limit_output(limit):
    from ipykernel.iostream import OutStream

    class OutputLimitExceeded(Exception):
        pass

    written, write = [0], OutStream.write

    def limited(stream, text):
        written[0] += len(text)
        if written[0] > limit:
            raise OutputLimitExceeded(f"more than {limit} characters of output")
        return write(stream, text)

    OutStream.write = limited

_limit_output({output_bytes})
del _limit_output
"""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one submission may use; sizes in bytes, times in seconds of wall clock."""

    cell_seconds: float = 60
    total_seconds: float = 600
    memory_bytes: int = 3_000_000_000
    output_bytes: int = 1_000_000  # of all cells together
    file_bytes: int = 100_000_000
    restarts: int = 3


def run(notebook, limits, seed):
    """Execute `notebook` in place; the incidents, as a list of {"cell", "reason"}.

    `cell` is the grade_id of the cell that was taken out, or its position where it has none; it is
    null in an incident that ended the whole run.
    """
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limits.file_bytes),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    deadline = time.monotonic() + limits.total_seconds
    incidents, taken_out = [], {}
    while True:
        index, reason = attempt(notebook, taken_out, limits, seed, deadline)
        if reason is None:
            return incidents
        if index is not None:
            taken_out[index] = reason
            incidents.append({"cell": name_of(notebook, index), "reason": reason})
        if index is not None and len(taken_out) <= limits.restarts:
            continue
        if index is not None:
            reason = f"more than {limits.restarts} cells broke a limit"
        incidents.append({"cell": None, "reason": reason})
        for cell in code_cells(notebook).values():
            cell.outputs = [error("NotRun", reason)]
        return incidents


def attempt(notebook, taken_out, limits, seed, deadline):
    """Run all cells that are not taken out in one new kernel.

    Returns the position of the cell that broke a limit and the reason; (None, reason) if that ends
    the whole run, and (None, None) if all is well.
    """
    cells = code_cells(notebook)
    for index, cell in cells.items():
        reason = taken_out.get(index)
        cell.outputs = [error("LimitExceeded", reason)] if reason else []
    with tempfile.TemporaryDirectory(prefix="submission-", ignore_cleanup_errors=True) as folder:
        client = Client(notebook, limits, folder)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        watch = index = None
        try:
            with client.setup_kernel(env=environment(folder, seed), cwd=folder, **quiet):
                watch = Watch(client.km.provisioner.pid, limits.memory_bytes)
                try:
                    for index in [i for i in cells if i not in taken_out]:
                        left = max(deadline - time.monotonic(), 0)
                        client.timeout = math.ceil(min(limits.cell_seconds, left)) or 1
                        client.execute_cell(cells[index], index)
                        if client.reason or watch.reason:
                            break
                finally:
                    watch.kill()
        except CellTimeoutError:
            if time.monotonic() >= deadline:
                return None, TOO_LONG
            return index, f"time limit ({limits.cell_seconds:g} s)"
        except RuntimeError as problem:  # a dead kernel, which nbclient notices in several places
            if watch is None:
                return None, f"the kernel did not start: {problem}"
            return index, watch.reason or client.reason or "the kernel died"
        reason = client.reason or watch.reason
        return (index, reason) if reason else (None, None)


class Client(NotebookClient):
    """A client that goes on after errors, counts output, and keeps only errors of a test cell.

    Warnings and numbers that a student's function leaves below a test must not decide about points.
    """

    def __init__(self, notebook, limits, folder):
        self.limits, self.written, self.reason = limits, 0, None
        startup = Path(folder) / ".startup.py"
        startup.write_text(PRELUDE.replace("{output_bytes}", str(int(limits.output_bytes))))
        super().__init__(
            notebook,
            kernel_name="python3",
            allow_errors=True,
            record_timing=False,
            interrupt_on_timeout=False,
            extra_arguments=[
                "--HistoryManager.hist_file=:memory:",
                f"--IPKernelApp.exec_files={startup}",
            ],
            resources={"metadata": {"path": folder}},
            on_cell_executed=self.close_cell,
        )

    def process_message(self, msg, cell, cell_index):
        if msg["header"]["msg_type"] in ("stream", "display_data", "execute_result", "error"):
            self.written += sum(len(str(value)) for value in msg["content"].values())
        if self.written > 2 * self.limits.output_bytes:  # pictures count, at a generous rate
            self.reason = "output limit"
            return None
        return super().process_message(msg, cell, cell_index)

    def close_cell(self, cell, cell_index, execute_reply):
        reply = execute_reply["content"]
        if any(item.get("source") == "ask_exit" for item in reply.get("payload", [])):
            self.reason = "the cell ended the kernel"
        if reply["status"] == "error":
            if reply["ename"] == "OutputLimitExceeded":
                self.reason = f"output limit ({self.limits.output_bytes / 1e6:g} MB)"
            # A student may have switched tracebacks off; the reply says what happened.
            if not any(output.output_type == "error" for output in cell.outputs):
                cell.outputs.append(error(reply["ename"], reply["evalue"]))
        elif reply["status"] != "ok":
            cell.outputs.append(error("NotRun", "an earlier cell stopped the kernel"))
        marks = cell.metadata.get("nbgrader", {})
        if marks.get("grade") and not marks.get("solution"):
            cell.outputs = [output for output in cell.outputs if output.output_type == "error"]


class Watch(threading.Thread):
    """Kills a kernel and its children when together they hold more memory than allowed."""

    def __init__(self, pid, memory_bytes):
        super().__init__(daemon=True)
        self.kernel, self.memory_bytes = psutil.Process(pid), memory_bytes
        self.reason, self.stopped = None, threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(0.1):
            used = 0
            for process in self.family():
                with contextlib.suppress(psutil.Error):
                    used += process.memory_info().rss
            if used > self.memory_bytes:
                self.reason = f"memory limit ({self.memory_bytes / 1e9:g} GB)"
                self.kill()

    def family(self):
        with contextlib.suppress(psutil.Error):
            return [self.kernel, *self.kernel.children(recursive=True)]
        return []

    def kill(self):
        self.stopped.set()
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.kill()


def environment(folder, seed):
    """What the kernel sees: a home of its own, and the seed of the hidden tests."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"HOME": folder, "GRADING_SEED": str(seed), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def code_cells(notebook):
    return {i: cell for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"}


def name_of(notebook, index):
    return notebook.cells[index].metadata.get("nbgrader", {}).get("grade_id") or f"cell {index + 1}"


def error(name, value):
    return nbformat.v4.new_output(
        "error", ename=name, evalue=str(value), traceback=[f"{name}: {value}"]
    )


def main():
    job = json.load(sys.stdin)
    notebook = nbformat.from_dict(job["notebook"])
    incidents = run(notebook, Limits(**job["limits"]), job["seed"])
    json.dump({"notebook": notebook, "incidents": incidents}, sys.stdout)


if __name__ == "__main__":
    main()
