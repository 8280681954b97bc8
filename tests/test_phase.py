"""Phase diagrams and the statistical dimension."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sweep_problems import sensing

import flatlib as fl
from flatlib import phase, sweeps
from flatlib._whitening import whiten, whitened

KEY = jax.random.key(0)


def completion(key, d, p):
    key_map, key_truth = jax.random.split(key)
    return fl.bernoulli_completion(key_map, p, (d, d)), fl.low_rank(key_truth, (d, d), 1)


# ------------------------------------------------------------------ statistical dimension


@pytest.mark.parametrize(
    ("d", "rank", "symmetric", "expected"),
    [
        (10, 1, False, 35.65),
        (10, 2, False, 57.85),
        (20, 1, False, 81.9),
        (20, 2, False, 141.8),
        (50, 2, False, 421.2),
        (10, 2, True, 31.2),
    ],
)
def test_statistical_dimension_values(d, rank, symmetric, expected):
    value = fl.statistical_dimension((d, d), rank, key=KEY, symmetric=symmetric)
    assert abs(value / expected - 1) < 5e-3


def test_statistical_dimension_is_slightly_above_the_mean_of_the_minima():
    # E min_tau, the statistical dimension itself, by brute force on a grid of tau.
    d, rank = 10, 2
    G = np.random.default_rng(0).normal(size=(4000, d - rank, d - rank))
    singular = np.linalg.svd(G, compute_uv=False)
    tau = np.linspace(0, 8, 401)[:, None, None]
    values = rank * tau[..., 0] ** 2 + np.square(np.maximum(singular - tau, 0)).sum(-1)
    exact = rank * (2 * d - rank) + values.min(0).mean()
    ratio = fl.statistical_dimension((d, d), rank, key=KEY) / exact
    assert 1.0 < ratio < 1.025


def test_statistical_dimension_grows_with_rank_and_size():
    by_rank = [fl.statistical_dimension((9, 7), r, key=KEY) for r in range(1, 8)]
    assert np.all(np.diff(by_rank) > 0)
    assert by_rank[-1] == 9 * 7  # full rank: the descent cone is a half-space at best
    by_size = [fl.statistical_dimension((d, 6), 2, key=KEY) for d in (6, 8, 12)]
    assert np.all(np.diff(by_size) > 0)
    transposed = fl.statistical_dimension((7, 9), 2, key=KEY)
    assert abs(transposed / by_rank[1] - 1) < 5e-3


def test_symmetric_statistical_dimension_is_smaller_and_bounded():
    whole = fl.statistical_dimension((8, 8), 3, key=KEY)
    symmetric = fl.statistical_dimension((8, 8), 3, key=KEY, symmetric=True)
    assert symmetric < min(whole, 8 * 9 / 2)
    assert fl.statistical_dimension((8, 8), 8, key=KEY, symmetric=True) == 8 * 9 / 2


def test_statistical_dimension_refuses_bad_arguments():
    with pytest.raises(ValueError, match="rank"):
        fl.statistical_dimension((4, 6), 5, key=KEY)
    with pytest.raises(ValueError, match="symmetric"):
        fl.statistical_dimension((4, 6), 2, key=KEY, symmetric=True)
    with pytest.raises(ValueError, match="samples"):
        fl.statistical_dimension((4, 4), 2, key=KEY, samples=0)


# ------------------------------------------------------------------ phase diagrams


def recording(problem, record):
    def recorded(key, d, m):
        op, M = problem(key, d, m)
        record.append((d, m, op, M))
        return op, M

    return recorded


@pytest.mark.parametrize("weighting", ["flat", "nuclear"])
def test_counts_agree_with_single_solves(weighting):
    record = []
    diagram = fl.phase_diagram(
        recording(sensing, record), (5,), (8, 14, 40), trials=6, key=KEY, weighting=weighting
    )
    assert diagram.counts.shape == (1, 3, 4) and np.all(diagram.counts.sum(-1) == 6)
    assert len(record) == 3 * 6
    solve = fl.flat_solution if weighting == "flat" else fl.nuclear_solution
    alone = {m: [] for m in (8, 14, 40)}
    for _, m, op, M in record:  # of one m in the order of the trials
        solution = solve(op, op(M))
        assert solution.converged
        alone[m].append(np.linalg.norm(solution.X - M) <= 1e-6)
    recovered = np.array(list(alone.values()))
    assert 0 < recovered[1].sum() < 6 == recovered[2].sum()  # a transition is in sight
    np.testing.assert_array_equal(diagram.results[0], np.where(recovered, 0, 1))
    np.testing.assert_array_equal(diagram.counts[0, :, 0], recovered.sum(1))
    np.testing.assert_allclose(diagram.recovery[0], recovered.mean(1))


def test_same_instances_under_both_weightings_and_on_every_grid(monkeypatch):
    def drawn_only(problem, key, d, m, trials, largest, **_):
        for trial in range(trials):
            sweeps.draw(problem, key, d, m, trial)
        return np.zeros((1, trials))

    monkeypatch.setattr(phase, "_cell", drawn_only)
    records = {"flat": [], "nuclear": []}
    fl.phase_diagram(recording(sensing, records["flat"]), (4,), (9, 12), trials=2, key=KEY)
    fl.phase_diagram(
        recording(sensing, records["nuclear"]),
        (3, 4),
        [[5], [9]],
        trials=2,
        key=KEY,
        weighting="nuclear",
    )

    def instances(record):
        return sorted(float(M[0, 0]) for d, m, _, M in record if (d, m) == (4, 9))

    assert len(set(instances(records["flat"]))) == 2
    assert instances(records["flat"]) == instances(records["nuclear"])


def test_completion_takes_probabilities_and_agrees_with_single_solves():
    record = []
    diagram = fl.phase_diagram(
        recording(completion, record), (6,), (0.4, 0.95), trials=5, key=KEY, save=None
    )
    recovered, elsewhere = np.zeros(2, dtype=int), np.zeros(2, dtype=int)
    for _, p, op, M in record:
        column = (0.4, 0.95).index(p)
        D1, D2 = op.rescaling()
        if min(np.diag(D1).min(), np.diag(D2).min()) == 0:
            elsewhere[column] += 1
            continue
        recovered[column] += np.linalg.norm(fl.flat_solution(op, op(M)).X - M) <= 1e-6
    assert recovered[1] > 0 and elsewhere[0] > 0
    np.testing.assert_array_equal(diagram.counts[0, :, 0], recovered)
    np.testing.assert_array_equal(diagram.counts[0, :, 2], elsewhere)
    assert np.all(diagram.counts.sum(-1) == 5) and np.all(diagram.unconverged == 0)


@pytest.mark.parametrize("m", [20, 200])
def test_padding_changes_nothing(m):
    op, M = sensing(KEY, 7, m)
    padded, number = phase.standard_map(op, 300)
    assert padded.m >= 300 and number == m
    scale = np.sqrt(op.m / padded.m)
    for D, D_padded in zip(op.rescaling(), padded.rescaling(), strict=True):
        np.testing.assert_allclose(D_padded, scale * D, atol=1e-12)
    b = padded(M)
    np.testing.assert_allclose(b[:m], op(M), atol=1e-14)
    assert not b[m:].any()


def trace_only(key, d, m):
    """tr X = 1 with M = e_1 e_1^T: every positive semidefinite X of trace one is a minimiser."""
    return fl.dense(np.eye(2)[None]), np.array([[1.0, 0.0], [0.0, 0.0]])


def test_another_minimiser_is_no_certified_failure():
    diagram = fl.phase_diagram(trace_only, (2,), (1,), trials=1, key=KEY, weighting="nuclear")
    np.testing.assert_array_equal(diagram.counts[0, 0], [0, 0, 1, 0])


def test_unobserved_rows_are_counted_and_leave_no_infinite_numbers():
    # LAPACK can run for ever on a matrix that is not finite.
    record = []
    problem = recording(completion, record)
    diagram = fl.phase_diagram(problem, (12,), (0.08,), trials=6, key=KEY)
    np.testing.assert_array_equal(diagram.counts[0, 0], [0, 0, 6, 0])
    for _, _, op, M in record:
        standard, m = phase.standard_map(op, 1)
        _, *inverses, singular = whiten(standard, m, True)
        assert singular and np.isfinite(whitened(M, *inverses, singular)).all()


@pytest.fixture
def without_certificates(monkeypatch):
    """Every instance is left to the solver."""
    monkeypatch.setattr(phase, "_by_certificate", lambda *_, **__: jnp.asarray(phase.UNDECIDED))


@pytest.mark.parametrize("weighting", ["flat", "nuclear"])
def test_certificates_and_solutions_give_the_same_outcomes(weighting, request):
    settings = {"trials": 5, "key": KEY, "weighting": weighting}
    grids = [(sensing, (5, 8), (8, 14, 27, 40)), (completion, (6,), (0.4, 0.6, 0.95))]
    certified = [fl.phase_diagram(*grid, **settings).counts for grid in grids]
    request.getfixturevalue("without_certificates")
    solved = [fl.phase_diagram(*grid, **settings).counts for grid in grids]
    assert certified[0][..., 0].sum() > 5 and certified[0][..., 1].sum() > 5
    np.testing.assert_array_equal(certified[0], solved[0])
    np.testing.assert_array_equal(certified[1][..., 0], solved[1][..., 0])


def test_unconverged_instances_are_kept_apart(monkeypatch, without_certificates):
    monkeypatch.setattr(phase, "SOLVER_STEPS", 2)
    sweeps._sharded.cache_clear()
    diagram = fl.phase_diagram(sensing, (7,), (30,), trials=3, key=KEY)
    sweeps._sharded.cache_clear()
    np.testing.assert_array_equal(diagram.counts[0, 0], [0, 0, 0, 3])
    np.testing.assert_array_equal(diagram.unconverged, [[3]])


def test_instances_of_different_shapes_and_ranks_share_a_cell():
    def varied(key, d, m):
        key, own = jax.random.split(key)
        extra, rank = np.asarray(jax.random.randint(own, (2,), 1, 3)).tolist()
        op = fl.gaussian_sensing(key, m * extra, (d, d))
        return op, fl.low_rank(own, (d, d), rank)

    record = []
    diagram = fl.phase_diagram(recording(varied, record), (5,), (14,), trials=8, key=KEY)
    assert len({(op.m, np.linalg.matrix_rank(M)) for _, _, op, M in record}) >= 3
    recovered = [np.linalg.norm(fl.flat_solution(op, op(M)).X - M) <= 1e-6 for *_, op, M in record]
    assert 0 < sum(recovered) < 8
    np.testing.assert_array_equal(diagram.results[0, 0], np.where(recovered, 0, 1))


def test_quadratic_and_bilinear_problems():
    def quadratic(key, d, m):
        key_map, key_truth = jax.random.split(key)
        M = fl.low_rank_symmetric(key_truth, d, (1, 1))
        return fl.quadratic_sensing(key_map, m, d), M

    def bilinear(key, d, m):
        key_map, key_truth = jax.random.split(key)
        return fl.bilinear_sensing(key_map, m, (d, d + 1)), fl.low_rank(key_truth, (d, d + 1), 1)

    for problem, many in ((quadratic, 5 * 6 // 2), (bilinear, 5 * 6)):
        diagram = fl.phase_diagram(problem, (5,), (7, many), trials=2, key=KEY)
        np.testing.assert_array_equal(diagram.counts[0], [[0, 2, 0, 0], [2, 0, 0, 0]])


def test_bad_settings_are_refused():
    settings = {"trials": 1, "key": KEY}
    with pytest.raises(ValueError, match="weighting"):
        fl.phase_diagram(sensing, (4,), (5,), weighting="spectral", **settings)
    with pytest.raises(ValueError, match="one row per size"):
        fl.phase_diagram(sensing, (4, 5, 6), [[5], [6]], **settings)
    with pytest.raises(ValueError, match="at least one number"):
        fl.phase_diagram(sensing, (4,), (), **settings)
    with pytest.raises(ValueError, match="trials"):
        fl.phase_diagram(sensing, (4,), (5,), trials=0, key=KEY)


# ------------------------------------------------------------------ saving and resuming

GRID = {"sizes": (4, 5), "measurements": (6, 9, 12, 15), "trials": 2, "key": KEY}

KILLED = """
import itertools, os, signal, sys
import jax
jax.config.update("jax_enable_x64", True)
sys.path.insert(0, sys.argv[2])
from test_phase import GRID, fl, sensing
calls = itertools.count()
def problem(key, d, m):
    if next(calls) == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    return sensing(key, d, m)
fl.phase_diagram(problem, **GRID, save=sys.argv[1])
"""


def test_a_killed_sweep_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "sweep.npz"
    command = [sys.executable, "-c", KILLED, str(path), os.path.dirname(__file__)]
    assert subprocess.run(command, capture_output=True).returncode == -9
    with np.load(path) as stored:
        done = int((~np.isnan(stored["results"][..., 0, 0])).sum())
    assert 0 < done < 8

    record = []
    resumed = fl.phase_diagram(recording(sensing, record), **GRID, save=path)
    assert len(record) == 1 + 2 * (8 - done)  # the first instance identifies the problem
    whole = fl.phase_diagram(sensing, **GRID)
    np.testing.assert_array_equal(resumed.counts, whole.counts)

    record.clear()
    again = fl.phase_diagram(recording(sensing, record), **GRID, save=path)
    assert len(record) == 1
    np.testing.assert_array_equal(again.counts, whole.counts)
    assert [file.name for file in tmp_path.iterdir() if file.suffix != ".tmp"] == ["sweep.npz"]


def test_an_error_in_the_problem_keeps_what_is_done(tmp_path):
    path = tmp_path / "deep" / "sweep.npz"

    def fails(key, d, m):
        if m == 15:
            raise RuntimeError("no more measurements")
        return sensing(key, d, m)

    with pytest.raises(RuntimeError, match="no more measurements"):
        fl.phase_diagram(fails, **{**GRID, "sizes": (4,)}, save=path)
    assert [file.name for file in path.parent.iterdir()] == ["sweep.npz"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sizes", (4, 6)),
        ("measurements", (6, 9, 12, 16)),
        ("measurements", (6, 9, 12)),
        ("trials", 3),
        ("key", jax.random.key(1)),
        ("weighting", "nuclear"),
        ("tolerance", 1e-5),
    ],
)
def test_a_file_of_another_sweep_is_refused(small_sweep, name, value):
    before = small_sweep.read_bytes()
    with pytest.raises(ValueError, match=rf"other settings \(`{name}s?` differs\)"):
        fl.phase_diagram(sensing, **{**GRID, name: value}, save=small_sweep)
    assert small_sweep.read_bytes() == before


def test_a_file_of_another_problem_is_refused(small_sweep):
    def rank_two(key, d, m):
        key_map, key_truth = jax.random.split(key)
        return fl.gaussian_sensing(key_map, m, (d, d)), fl.low_rank(key_truth, (d, d), 2)

    with pytest.raises(ValueError, match="first measurements"):
        fl.phase_diagram(rank_two, **GRID, save=small_sweep)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "notes.npz"
    path.write_text("not a sweep")
    with pytest.raises(ValueError, match="not the file of a sweep"):
        fl.phase_diagram(sensing, **GRID, save=path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(ValueError, match="other settings"):
        fl.phase_diagram(sensing, **GRID, save=path)


@pytest.fixture(scope="module")
def small_sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep.npz"
    fl.phase_diagram(sensing, **GRID, save=path)
    return path


def test_bad_shape_tolerance_and_problem_are_refused():
    key = jax.random.key(0)
    for shape in (10, (3, 3, 3)):
        with pytest.raises(ValueError, match="`shape` must be a pair"):
            fl.statistical_dimension(shape, 1, key=key)
    for tolerance in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="`tolerance` must lie between 0 and 1"):
            fl.phase_diagram(None, [3], [4], trials=1, key=key, tolerance=tolerance)
    for measurements in ([-7], ["a"], [np.nan]):
        with pytest.raises(ValueError, match="`measurements` must be nonnegative numbers"):
            fl.phase_diagram(None, [3], measurements, trials=1, key=key)
    with pytest.raises(TypeError, match="`op` must be a measurement map"):
        fl.phase_diagram(lambda key, d, m: (1.0, 2.0), [3], [4], trials=1, key=key)
