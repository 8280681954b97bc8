"""The figures at the scale of the paper: the grid, the results that ship, the command."""

import os
import re
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import flatlib as fl
from flatlib import paper, sweeps

NAMES = [problem.__name__ for problem in paper.PROBLEMS]


@pytest.mark.parametrize("problem", paper.PROBLEMS, ids=NAMES)
def test_fifteen_numbers_of_measurements_around_the_prediction(problem):
    counts = paper.measurement_counts(problem)
    assert counts.shape == (10, 15)
    for d, row in zip(paper.SIZES.tolist(), counts, strict=True):
        entries = d * (d + 1) // 2 if problem is paper.quadratic_network else d * d
        middle = paper.predicted(problem, d)
        assert abs(row[0] - 0.5 * middle) <= 0.5
        assert row[-1] == min(round(2.0 * middle), entries)
        steps = np.diff(row)
        assert steps.min() >= (d > 5) and steps.max() - steps.min() <= 1


@pytest.mark.parametrize("problem", paper.PROBLEMS, ids=NAMES)
def test_problems_are_what_they_are_called(problem):
    op, M = problem(jax.random.key(0), 9, 40)
    ranks = {"quadratic_network": 3}
    assert op.shape == M.shape == (9, 9)
    assert np.linalg.matrix_rank(M) == ranks.get(problem.__name__, 2)
    assert abs(np.linalg.norm(M) - 1.0) < 1e-12
    if problem is paper.quadratic_network:
        assert (np.linalg.eigvalsh(M) > 1e-9).sum() == 2
    if problem is paper.matrix_completion:
        sizes = [problem(jax.random.key(seed), 9, 40)[0].m for seed in range(50)]
        assert abs(np.mean(sizes) - 40) < 3
    else:
        assert op.m == 40


# ------------------------------------------------------------------ the results that ship


@pytest.mark.parametrize("problem", paper.PROBLEMS, ids=NAMES)
def test_the_results_that_ship_are_complete_and_converged(problem):
    found = paper.recovery(problem)
    for weighting in ("flat", "nuclear"):
        diagram = found[weighting]
        assert diagram.weighting == weighting and diagram.trials == 10
        np.testing.assert_array_equal(diagram.sizes, paper.SIZES)
        np.testing.assert_array_equal(diagram.measurements, paper.measurement_counts(problem))
        assert diagram.counts.sum() == 1500
        assert diagram.unconverged.sum() <= 1  # of 1,500: below 0.1 %
    regularity = paper.regularity(problem)
    assert regularity.excess.shape == (10, 15, 5)
    stored = sweeps.load(paper.file(3, problem))
    assert int(stored["key"][-1]) == paper.KEY
    assert re.fullmatch(r"jax [\d.]+, numpy [\d.]+, .+", stored["versions"][0])


@pytest.mark.parametrize("problem", paper.PROBLEMS, ids=NAMES)
def test_certificates_and_solvers_agree_in_the_results_that_ship(problem):
    found, regularity = paper.recovery(problem), paper.regularity(problem)
    for weighting in ("flat", "nuclear"):
        certified = found[weighting].results[..., : regularity.excess.shape[-1]] == 0
        error = getattr(regularity, f"{weighting}_error")
        solved = getattr(regularity, f"{weighting}_status") == fl.Status.CONVERGED
        assert solved.mean() > 0.8
        np.testing.assert_array_equal(certified[solved], (error < 1e-6)[solved])


def test_cells_that_ship_can_be_recomputed(tmp_path):
    d, columns = 10, [4, 5]  # around the transition
    for problem in (paper.bilinear_sensing, paper.quadratic_network):
        shipped = paper.recovery(problem)
        counts = paper.measurement_counts(problem, [d])[0]
        for j in columns:
            for trial in range(3):
                op, M = sweeps.draw(problem, jax.random.key(paper.KEY), d, int(counts[j]), trial)
                for weighting, solve in (
                    ("flat", fl.flat_solution),
                    ("nuclear", fl.nuclear_solution),
                ):
                    solution = solve(op, op(M))
                    assert solution.converged
                    recovered = np.linalg.norm(solution.X - M) < 1e-6
                    assert recovered == (shipped[weighting].results[1, j, trial] == 0)


# ------------------------------------------------------------------ regularity


@pytest.mark.parametrize("problem", paper.PROBLEMS, ids=NAMES)
def test_regularity_agrees_with_the_public_functions(problem):
    d, m, trials = 6, 24 if problem is not paper.quadratic_network else 18, 3
    key = jax.random.key(1)
    found = paper.regularity_sweep(problem, [d], [[m]], trials=trials, key=key)
    for trial in range(trials):
        op, M = sweeps.draw(problem, key, d, m, trial)
        D1, D2 = op.rescaling()
        values = np.concatenate([np.linalg.eigvalsh(D1), np.linalg.eigvalsh(D2)])
        if values.min() < 1e-9:
            assert np.isnan(found.excess[0, 0, trial])
            continue
        flat, nuclear = fl.flat_solution(op, op(M)), fl.nuclear_solution(op, op(M))
        assert flat.converged and nuclear.converged
        L, R = fl.flat_factors(op, flat.X, d)
        least = 2.0 * np.linalg.svd(nuclear.X, compute_uv=False).sum()
        own = {
            "flat_error": np.linalg.norm(flat.X - M),
            "nuclear_error": np.linalg.norm(nuclear.X - M),
            "excess": (np.sum(L**2) + np.sum(R**2)) / least - 1.0,
            "imbalance": np.linalg.svd(L.T @ L - R.T @ R, compute_uv=False).sum() / least,
            "condition": values.max() / values.min(),
        }
        for name, value in own.items():
            assert abs(getattr(found, name)[0, 0, trial] - value) < 1e-6, name
        assert -1e-8 < own["excess"] <= own["condition"] ** 2 - 1.0


# ------------------------------------------------------------------ the command

SMALL = ["--problems", "matrix_sensing", "--sizes", "4", "5", "--trials", "2"]


def command(folder, *more):
    return [sys.executable, "-m", "flatlib.paper", *SMALL, "--folder", str(folder), *more]


def finished(path):
    if not path.exists():
        return 0
    return int((~np.isnan(sweeps.load(path)["results"][..., 0, 0])).sum())


def test_the_command_goes_on_after_it_was_killed(tmp_path):
    path = tmp_path / "figure3_matrix_sensing.npz"
    process = subprocess.Popen(
        command(tmp_path, "--figures", "3", "--workers", "2"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while finished(path) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = finished(path)
    assert 3 <= before < 30
    while time.monotonic() < deadline:  # the workers end by themselves
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("workers outlive the main process")

    run = subprocess.run(command(tmp_path), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Figure 3, matrix sensing, flat:" in run.stdout
    assert "Figure 4, matrix sensing: 120 converged" in run.stdout
    whole = fl.phase_diagram(
        paper.matrix_sensing,
        [4, 5],
        paper.measurement_counts(paper.matrix_sensing, [4, 5]),
        trials=2,
        key=jax.random.key(paper.KEY),
    )
    resumed = paper.recovery(paper.matrix_sensing, tmp_path)
    np.testing.assert_array_equal(resumed["flat"].results, whole.results)
    assert paper.regularity(paper.matrix_sensing, tmp_path).excess.shape == (2, 15, 2)
    assert len(paper.versions(tmp_path)) == 1


def test_results_that_are_not_there_or_not_finished_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"figure3_matrix_sensing\.npz is missing or not the file"):
        paper.recovery(paper.matrix_sensing, tmp_path)
    np.savez(tmp_path / "figure3_matrix_sensing.npz", results=np.array([np.nan]))
    with pytest.raises(ValueError, match="not the file of a finished sweep with sizes"):
        paper.recovery(paper.matrix_sensing, tmp_path)

    shipped = sweeps.load(paper.file(4, paper.matrix_sensing))
    shipped["results"][3, 4] = np.nan  # a cell that is missing
    np.savez(tmp_path / "figure4_matrix_sensing.npz", **shipped)
    with pytest.raises(ValueError, match="not the file of a finished sweep"):
        paper.regularity(paper.matrix_sensing, tmp_path)
