"""Sweeps: many random instances on a grid of sizes d and numbers of measurements m.

The cells of the grid are independent tasks. They go to any executor of `concurrent.futures`:
threads of this process by default, which take every function; `process_pool`, which keeps every
core busy; or a cluster, for instance one of Dask through its `Client.get_executor()`. Inside a
process the instances of a cell are sharded over the devices that JAX sees. What is finished is
saved at once, so that a sweep that was stopped, in whatever way, goes on where it was.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import pickle
import tempfile
import threading
import zipfile

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from flatlib._inputs import as_float64, positive_integer, require_float64, require_key
from flatlib.measurements import check_map


@dataclasses.dataclass(frozen=True)
class Grid:
    """What is swept: sizes (n_sizes,), measurements (n_sizes, n), trials in each cell, the key."""

    sizes: np.ndarray
    measurements: np.ndarray
    trials: int
    key: jax.Array


def make_grid(sizes, measurements, trials, key):
    """A Grid from the arguments of a sweep, or an error that names the argument."""
    require_float64("sweep")
    trials = positive_integer("trials", trials)
    require_key(key)
    sizes = np.array([positive_integer("sizes", d) for d in np.ravel(sizes)])
    measurements = np.asarray(measurements)
    if measurements.ndim not in (1, 2) or 0 in measurements.shape or not len(sizes):
        raise ValueError("`sizes` and `measurements` must hold at least one number each.")
    if measurements.dtype.kind not in "iuf" or not (measurements >= 0).all():
        raise ValueError("`measurements` must be nonnegative numbers.")
    if measurements.ndim == 2 and len(measurements) != len(sizes):
        raise ValueError(
            f"`measurements` must have one row per size, {len(sizes)}, or be common to all sizes, "
            f"but has shape {measurements.shape}."
        )
    measurements = np.array(np.broadcast_to(measurements, (len(sizes), measurements.shape[-1])))
    return Grid(sizes, measurements, trials, key)


# ------------------------------------------------------------------ the instances of a cell


def draw(problem, key, d, m, trial):
    """Instance (op, M) number `trial` of the cell (d, m); it depends on these and the key alone."""
    code = m if isinstance(m, int) else int(np.float32(m).view(np.uint32))
    op, M = problem(functools.reduce(jax.random.fold_in, (d, code, trial), key), d, m)
    check_map(op)
    return op, as_float64("M", M, shape=op.shape)


def over_devices(function, instances, **options):
    """function(*instance, **options) for every instance, sharded over the devices of this process.

    The instances must agree in structure and shapes; the options are static. On CPUs a device
    takes its instances in turn, elsewhere all at once (`vmap`). Returns stacked results in NumPy.
    """
    count = len(instances)
    missing = -count % jax.local_device_count()
    instances = [*instances, *[instances[-1]] * missing]  # a full batch for every device
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *instances)
    results = _sharded(function, tuple(sorted(options.items())))(stacked)
    return jax.tree.map(lambda leaf: np.array(leaf)[:count], results)


@functools.cache
def _sharded(function, options):
    def batch(instances):
        first = jax.tree.leaves(instances)[0]
        return jax.lax.map(
            lambda instance: function(*instance, **dict(options)),
            instances,
            batch_size=None if jax.default_backend() == "cpu" else len(first),
        )

    mesh, axis = Mesh(np.array(jax.local_devices()), ("instances",)), PartitionSpec("instances")
    return jax.jit(jax.shard_map(batch, mesh=mesh, in_specs=axis, out_specs=axis, check_vma=False))


# ------------------------------------------------------------------ the run


def run(task, problem, grid, row, *, executor=None, save=None, settings=(), label=None):
    """Results of `task` for all cells of the grid, (n_sizes, n, *row); rows of NaN are undone.

    `task(problem, key, d, m, trials, largest)` returns the results of one cell, of shape `row`;
    `largest` is the largest m of the same size d. `save`, `settings` and `executor` as in
    `flatlib.phase_diagram`: the file of a sweep holds the settings, the results and the versions
    of the software that made them, and is refused where a setting differs.
    """
    results = np.full((*grid.measurements.shape, *row), np.nan)
    settings = {
        "sizes": grid.sizes,
        "measurements": grid.measurements,
        "trials": grid.trials,
        "key": np.asarray(jax.random.key_data(grid.key)),
        **dict(settings),
    }
    versions = set()
    if save is not None:
        op, M = draw(problem, grid.key, int(grid.sizes[0]), grid.measurements[0, 0].item(), 0)
        settings["first measurements"] = np.asarray(op(M))  # tells problems apart
        results, versions = _resume(save, settings, results)
    # From the largest size to the smallest within a column, so that workers do not all compile the
    # same program, and little is left to wait for at the end.
    columns, rows = np.nonzero(~_done(results)[::-1].T)
    arguments = {
        (i, j): (
            problem,
            grid.key,
            int(grid.sizes[i]),
            grid.measurements[i, j].item(),
            grid.trials,
            grid.measurements[i].max().item(),
        )
        for i, j in zip(len(grid.sizes) - 1 - rows, columns, strict=True)
    }
    for cell, (result, version) in _finished(task, arguments, executor, label):
        results[cell] = result
        versions.add(version)
        if save is not None:
            _write(save, settings, results, versions)
    return results


def _finished(task, arguments, executor, label):
    """Pairs of a cell and its outcome as they come, with a progress bar on a terminal."""
    from tqdm import tqdm

    with contextlib.ExitStack() as stack:
        if executor is None:
            executor = concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1))
            stack.callback(executor.shutdown, cancel_futures=True)
        elif isinstance(executor, concurrent.futures.ProcessPoolExecutor):
            _check_importable(next(iter(arguments.values()), [None])[0])
        futures = {}
        stack.callback(lambda: [future.cancel() for future in futures])
        for cell, values in arguments.items():
            futures[executor.submit(_in_worker, task, *_portable(*values))] = cell
        finished = concurrent.futures.as_completed(futures)
        # disable=None: no bar where stderr is no terminal, as in a notebook.
        for future in tqdm(finished, label, total=len(futures), unit="cell", disable=None):
            try:
                yield futures[future], future.result()
            except concurrent.futures.BrokenExecutor as error:
                raise RuntimeError(
                    "`executor`: a worker process died, killed by hand or for lack of memory. What "
                    "was finished is in the file of the sweep, if it has one: run it again with a "
                    "new executor, with fewer workers if memory was short."
                ) from error


def _check_importable(problem):
    """Raise an error for a problem that other processes cannot import."""
    try:
        pickle.dumps(problem)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "`problem` must be a function of a module that the worker processes can import, or "
            f"leave `executor` out: {error}."
        ) from error


def _portable(problem, key, *rest):
    """The same arguments with the random key as numbers, which travel between processes."""
    return problem, np.asarray(jax.random.key_data(key)), str(jax.random.key_impl(key)), *rest


def _in_worker(task, problem, numbers, kind, *rest):
    """The result of one cell, and the versions that computed it."""
    jax.config.update("jax_enable_x64", True)  # in a new process it is off
    result = task(problem, jax.random.wrap_key_data(numbers, impl=kind), *rest)
    device = jax.local_devices()[0]
    return result, f"jax {jax.__version__}, numpy {np.__version__}, {device.device_kind}"


@contextlib.contextmanager
def process_pool(workers=None):
    """A pool of worker processes for sweeps, one for each core of this process.

    Use it in a `with` statement, and in a script only below `if __name__ == "__main__":`, since
    each worker imports the main module. A worker computes on one core: many single threads are
    faster than one process with many. The workers share what they compile.

    Parameters
    ----------
    workers : number of processes

    Returns
    -------
    Context manager of the pool, an executor of `concurrent.futures`.

    Raises
    ------
    ValueError if `workers` is not a positive integer.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    workers = len(cores) or os.cpu_count() if workers is None else workers
    workers = positive_integer("workers", workers)
    context = multiprocessing.get_context("spawn")  # JAX has threads, which do not survive a fork
    queue = context.SimpleQueue()
    for worker in range(workers):
        queue.put(cores[worker % len(cores)] if cores else None)
    with (
        tempfile.TemporaryDirectory() as compiled,
        concurrent.futures.ProcessPoolExecutor(
            workers, context, initializer=_start_worker, initargs=(queue, compiled)
        ) as pool,
    ):
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start_worker(queue, compiled):
    threading.Thread(target=_end_with_parent, daemon=True).start()
    jax.config.update("jax_platforms", "cpu")  # one accelerator is not for many processes
    jax.config.update("jax_compilation_cache_dir", compiled)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {queue.get()})  # one thread: more of them only wait for each other


def _end_with_parent():
    """A main process that is killed cannot tell its workers to stop."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


# ------------------------------------------------------------------ the file of a sweep


def load(path):
    """Settings, results and versions in the file of a sweep, as a dictionary of arrays."""
    try:
        with np.load(path) as stored:
            return dict(stored)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is missing or not the file of a sweep; where a sweep is to be saved, delete "
            "it or choose another path."
        ) from error


def load_finished(path, names):
    """The arrays of these names from the file of a finished sweep.

    Raises ValueError for another file, or one of an unfinished sweep.
    """
    stored = load(path)
    if not {*names, "results"} <= set(stored) or not _done(stored["results"]).all():
        raise ValueError(f"{path} is not the file of a finished sweep with {', '.join(names)}.")
    return [stored[name] for name in names]


def _done(results):
    """Which cells are finished, (n_sizes, n): those that are not NaN throughout."""
    return ~np.isnan(results.reshape(*results.shape[:2], -1)).all(-1)


def _resume(save, settings, results):
    """Results and versions in the file, if there is one; an error if it holds another sweep."""
    path = pathlib.Path(save)
    if not path.exists():
        return results, set()
    stored = load(path)
    for name, value in settings.items():
        if name not in stored or not _agree(stored[name], np.asarray(value)):
            raise ValueError(
                f"`save`: {path} holds a sweep with other settings (`{name}` differs): delete it "
                "or choose another path."
            )
    return stored["results"], set(stored["versions"].tolist())


def _agree(stored, value):
    if stored.shape != value.shape:
        return False
    if value.dtype.kind == "f":
        return bool(np.allclose(stored, value, rtol=1e-6, atol=0))
    return bool(np.array_equal(stored, value))


def _write(save, settings, results, versions):
    """Replace the file at once, so that an interruption leaves either the old or the new one."""
    path = pathlib.Path(save)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            np.savez_compressed(
                file, results=results, versions=np.array(sorted(versions), dtype=str), **settings
            )
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
