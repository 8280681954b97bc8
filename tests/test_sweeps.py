"""Sweeps over devices, processes and a cluster; killed workers; the files."""

import concurrent.futures
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sweep_problems import deadly, sensing

import flatlib as fl
from flatlib import sweeps

GRID = {"sizes": (4, 6), "measurements": (6, 9, 12, 15, 30), "trials": 3, "key": jax.random.key(0)}


@pytest.fixture(scope="module")
def by_threads():
    counts = fl.phase_diagram(sensing, **GRID).counts
    assert counts[..., 0].sum() > 5 and counts[..., 1].sum() > 5
    return counts


@pytest.fixture
def victim(tmp_path, monkeypatch):
    """Worker processes started from here on have one among them that dies at m = 12."""
    monkeypatch.setenv("SWEEP_VICTIM", str(tmp_path / "victim"))
    monkeypatch.setenv("SWEEP_MAIN", str(os.getpid()))
    return tmp_path / "victim"


@pytest.fixture
def saved(monkeypatch):
    """The numbers of finished cells at every writing of the file."""
    record, write = [], sweeps._write

    def recorded(save, settings, results, versions):
        record.append(int((~np.isnan(results[..., 0, 0])).sum()))
        write(save, settings, results, versions)

    monkeypatch.setattr(sweeps, "_write", recorded)
    return record


# ------------------------------------------------------------------ devices

SHARDED = """
import sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
sys.path.insert(0, sys.argv[1])
from test_sweeps import GRID, fl, sensing, sweeps
assert jax.device_count() == 3
double = sweeps._sharded(sweeps_function := (lambda x: 2.0 * x), ())
result = double((np.arange(6.0),))
assert len(result.sharding.device_set) == 3, result.sharding
assert sweeps.over_devices(sweeps_function, [(float(x),) for x in range(7)]).tolist() == [
    0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0
]
counts = fl.phase_diagram(sensing, **{**GRID, "trials": 4}).counts
print(counts.tolist())
"""


def test_instances_are_sharded_over_the_devices():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    command = [sys.executable, "-c", SHARDED, os.path.dirname(__file__)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    alone = fl.phase_diagram(sensing, **{**GRID, "trials": 4}).counts
    np.testing.assert_array_equal(eval(run.stdout), alone)


def test_batches_of_an_accelerator_give_the_same(monkeypatch, by_threads):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # all instances at once
    sweeps._sharded.cache_clear()
    with concurrent.futures.ThreadPoolExecutor(
        1
    ) as one:  # on a CPU two batches can block each other
        counts = fl.phase_diagram(sensing, **GRID, executor=one).counts
    sweeps._sharded.cache_clear()
    np.testing.assert_array_equal(counts, by_threads)


# ------------------------------------------------------------------ processes


def test_a_process_pool_gives_the_same_counts(by_threads, tmp_path, saved):
    with fl.process_pool(2) as pool:
        diagram = fl.phase_diagram(sensing, **GRID, executor=pool, save=tmp_path / "sweep.npz")
    np.testing.assert_array_equal(diagram.counts, by_threads)
    assert saved == list(range(1, 11))
    versions = sweeps.load(tmp_path / "sweep.npz")["versions"].tolist()
    assert versions == [f"jax {jax.__version__}, numpy {np.__version__}, cpu"]


def test_a_worker_that_dies_loses_no_finished_cell(by_threads, tmp_path, victim, saved):
    path = tmp_path / "sweep.npz"
    with (
        fl.process_pool(2) as pool,
        pytest.raises(RuntimeError, match="a worker process died"),
    ):
        fl.phase_diagram(deadly, **GRID, executor=pool, save=path)
    assert victim.exists() and 0 < saved[-1] < 10
    with fl.process_pool(2) as pool:
        diagram = fl.phase_diagram(deadly, **GRID, executor=pool, save=path)
    np.testing.assert_array_equal(diagram.counts, by_threads)
    assert saved == list(range(1, 11))  # no cell was computed twice


def test_problems_that_processes_cannot_import_are_refused():
    with (
        fl.process_pool(1) as pool,
        pytest.raises(ValueError, match="`problem` must be a function of a module"),
    ):
        fl.phase_diagram(lambda key, d, m: sensing(key, d, m), **GRID, executor=pool)


def test_errors_of_a_worker_arrive(tmp_path):
    with fl.process_pool(1) as pool, pytest.raises(TypeError, match="`op` must be a measurement"):
        fl.phase_diagram(no_map, **GRID, executor=pool)


def no_map(key, d, m):
    return 1.0, 2.0


def test_the_number_of_workers_is_checked():
    with pytest.raises(ValueError, match="`workers`"), fl.process_pool(0):
        pass


# ------------------------------------------------------------------ a cluster


@pytest.mark.filterwarnings("default")  # of the cluster, not ours
def test_a_cluster_that_loses_a_worker_computes_every_cell_once(
    by_threads, tmp_path, victim, saved
):
    distributed = pytest.importorskip("distributed")
    path = tmp_path / "sweep.npz"
    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        before = set(client.run(os.getpid).values())
        executor = client.get_executor()
        diagram = fl.phase_diagram(deadly, **GRID, executor=executor, save=path)
        after = set(client.run(os.getpid).values())
    assert victim.exists() and before - after  # one of the workers is not there any more
    np.testing.assert_array_equal(diagram.counts, by_threads)
    assert saved == list(range(1, 11))
    np.testing.assert_array_equal(sweeps.load(path)["results"][:, :, 0], diagram.results)


# ------------------------------------------------------------------ results by device


def test_over_devices_stacks_structures():
    def both(x, y):
        return {"sum": x + y, "norm": jnp.linalg.norm(y)}

    pairs = [(1.0, np.array([3.0, 4.0])), (2.0, np.array([0.0, 1.0]))]
    results = sweeps.over_devices(both, pairs)
    np.testing.assert_array_equal(results["sum"], [[4.0, 5.0], [2.0, 3.0]])
    np.testing.assert_array_equal(results["norm"], [5.0, 1.0])
