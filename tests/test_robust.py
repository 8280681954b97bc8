"""Robust PCA and principal component pursuit: against cvxpy, their gaps, statuses and errors."""

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatlib as fl
from flatlib import robust
from flatlib.convex import soft_threshold


def separation(seed, shape=(12, 12), rank=1, share=0.06, size=1.0):
    """A low-rank matrix of unit norm and a sparse one."""
    k1, k2, k3 = jax.random.split(jax.random.key(seed), 3)
    spots = jax.random.uniform(k2, shape) < share
    return fl.low_rank(k1, shape, rank), jnp.where(spots, size * jax.random.normal(k3, shape), 0.0)


def solve(form, Y, size, **options):
    return {"radius": fl.robust_pca, "weight": fl.pursuit}[form](Y, size, **options)


def objective(form, Y, X, size):
    penalty = 0.0 if form == "radius" else size * float(jnp.sum(jnp.abs(Y - X)))
    return float(jnp.linalg.norm(X, "nuc")) + penalty


def oracle(form, Y, size):
    X = cvxpy.Variable(Y.shape)
    misfit = cvxpy.sum(cvxpy.abs(np.asarray(Y) - X))
    if form == "radius":
        task = cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(X)), [misfit <= size])
    else:
        task = cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(X) + size * misfit))
    task.solve(solver=cvxpy.SCS, eps=1e-9, max_iters=200_000)
    assert task.status == "optimal"
    return task.value


FORMS = ["radius", "weight"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(10, 10), (7, 12), (12, 7)])
@pytest.mark.parametrize("share", [0.05, 0.4])
def test_values_agree_with_cvxpy(form, shape, share):
    M, S0 = separation(3, shape, 2, share)
    Y = M + S0
    size = 0.8 * float(jnp.sum(jnp.abs(S0))) if form == "radius" else 0.25
    solution = solve(form, Y, size)
    assert solution.converged
    assert objective(form, Y, solution.X, size) == pytest.approx(oracle(form, Y, size), rel=1e-6)
    if form == "radius":
        assert jnp.sum(jnp.abs(Y - solution.X)) == pytest.approx(size, rel=1e-9)


@pytest.mark.parametrize("size", [0.02, 1.0, 500.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_both_forms_recover(seed, size):
    M, S0 = separation(seed, (40, 30), 2, 0.05, size)
    Y = M + S0
    for solution in (
        fl.robust_pca(Y, jnp.sum(jnp.abs(S0))),
        fl.pursuit(Y, 1.0 / np.sqrt(40.0)),
    ):
        assert solution.converged
        assert float(solution.gap) <= 1e-9
        assert float(jnp.linalg.norm(solution.X - M)) < 1e-8


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(100, 150), (150, 100), (40, 40)])  # 40 is too small for a block
def test_few_steps_recover_whatever_the_size_of_the_corruption(form, shape):
    """Relative to a typical entry: of size 1 it hides in the matrix, of size 90 it hides it."""
    for size in (1.0, 10.0, 90.0):
        M, S0 = separation(1, shape, 2, 0.05, size / np.sqrt(shape[0] * shape[1]))
        total = jnp.sum(jnp.abs(S0)) if form == "radius" else 1.0 / np.sqrt(max(shape))
        solution = solve(form, M + S0, total, tolerance=1e-4)
        assert solution.converged and int(solution.iterations) < robust.VARIED
        assert float(jnp.linalg.norm(solution.X - M)) < 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_the_gap_is_a_bound_long_before_convergence(form):
    M, S0 = separation(4, (15, 15), 2, 0.2)
    Y = M + S0
    size = float(jnp.sum(jnp.abs(S0))) if form == "radius" else 0.2
    best = objective(form, Y, solve(form, Y, size, tolerance=1e-11).X, size)
    for iterations in (1, 3, 10, 30):
        early = solve(form, Y, size, max_iterations=iterations)
        assert early.status_name == "iteration_limit" and not early.converged
        value = objective(form, Y, early.X, size)
        assert value * (1.0 - float(early.gap)) <= best * (1.0 + 1e-10)
        assert best <= value * (1.0 + 1e-10)
        assert float(early.residual) <= 1e-9


def test_the_trivial_solutions():
    M, S0 = separation(0)
    Y = M + S0
    everything = fl.robust_pca(Y, 1.01 * jnp.sum(jnp.abs(Y)))  # all of Y may be corruption
    assert everything.converged and jnp.all(everything.X == 0.0)
    assert fl.pursuit(jnp.zeros((3, 4)), 1.0).converged
    memorised = fl.pursuit(Y, 2.0)  # |W|_max <= |W|_op <= 1 < weight: nothing is corruption
    assert memorised.converged and jnp.linalg.norm(memorised.X - Y) < 1e-8


def project(X, radius):
    return jnp.sign(X) * jnp.maximum(jnp.abs(X) - robust._level(X, radius), 0.0)


@pytest.mark.parametrize("radius", [1e-6, 0.5, 3.0, 40.0])
def test_projection_on_the_ball(radius):
    X = jax.random.normal(jax.random.key(1), (6, 8))
    P = project(X, radius)
    if jnp.sum(jnp.abs(X)) <= radius:
        assert jnp.all(P == X)
        return
    assert jnp.sum(jnp.abs(P)) == pytest.approx(radius, rel=1e-9)
    # The variational inequality <X - P, Q - P> <= 0 at the vertices Q of the ball, its worst Q.
    assert radius * jnp.max(jnp.abs(X - P)) <= jnp.vdot(X - P, P) * (1.0 + 1e-9)


def test_projection_with_ties():
    assert jnp.allclose(project(jnp.ones((2, 2)), 2.0), 0.5, atol=1e-15)


@pytest.mark.parametrize("rank", [3, 40])  # 40 singular values do not fit into a block of 12
@pytest.mark.parametrize("shape", [(120, 60), (60, 120)])
def test_block_thresholding(shape, rank):
    X = fl.low_rank(jax.random.key(1), shape, rank)
    X = X + 1e-3 * jax.random.normal(jax.random.key(2), shape)
    basis = jax.random.normal(jax.random.key(3), (shape[1], 12))
    for _ in range(8):
        shrunk, basis = robust._block_threshold(X, 0.02, basis)
    assert jnp.linalg.norm(shrunk - soft_threshold(X, 0.02, symmetric=False)) < 1e-8
    assert jnp.allclose(basis.T @ basis, jnp.eye(12), atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_step_cannot_make_a_wrong_answer_pass(form, monkeypatch):
    """The first stage thresholds wrongly: that costs steps of the second, and nothing else."""

    def wrong(X, threshold, basis):
        return 0.9 * soft_threshold(X, threshold, symmetric=False), basis

    M, S0 = separation(2, (30, 30), 2, 0.05)
    Y, size = M + S0, float(jnp.sum(jnp.abs(S0))) if form == "radius" else 1.0 / np.sqrt(30.0)
    assert int(solve(form, Y, size, tolerance=1e-6).iterations) < robust.VARIED
    robust._separate.clear_cache()
    monkeypatch.setattr(robust, "_block_threshold", wrong)
    early = solve(form, Y, size, tolerance=1e-6, max_iterations=robust.VARIED)
    late = solve(form, Y, size, tolerance=1e-6)
    robust._separate.clear_cache()
    assert not early.converged and float(early.gap) > 0.01
    assert late.converged and int(late.iterations) > robust.VARIED
    assert jnp.linalg.norm(late.X - M) < 1e-6


def augmented_lagrangians(Y, weight, growth, steps=200):
    """Pursuit by inexact augmented Lagrangians with a growing penalty: X and S."""
    Y = np.asarray(Y)
    top = np.linalg.norm(Y, 2)
    dual, penalty = Y / max(top, np.max(np.abs(Y)) / weight), 1.25 / top
    S = np.zeros_like(Y)
    for _ in range(steps):
        U, sigma, Vt = np.linalg.svd(Y - S + dual / penalty, full_matrices=False)
        X = (U * np.maximum(sigma - 1.0 / penalty, 0.0)) @ Vt
        E = Y - X + dual / penalty
        S = np.sign(E) * np.maximum(np.abs(E) - weight / penalty, 0.0)
        dual = dual + penalty * (Y - X - S)
        penalty = min(growth * penalty, 1e12)
    return X, S


def test_where_a_small_residual_is_no_proof():
    """A penalty that grows fast freezes at a wrong point; slowly, it finds what we certify."""
    M, S0 = separation(50)
    Y, weight = M + S0, 0.3
    ours = fl.pursuit(Y, weight)
    value = objective("weight", Y, ours.X, weight)
    assert ours.converged and float(ours.gap) <= 1e-9
    assert jnp.linalg.norm(ours.X - M) < 1e-8
    for growth, right in ((1.5, False), (1.1, True)):
        X, S = augmented_lagrangians(Y, weight, growth)
        assert np.linalg.norm(Y - X - S) <= 1e-8 * np.linalg.norm(Y)
        excess = objective("weight", Y, X, weight) / value - 1.0
        assert abs(excess) < 1e-7 if right else excess > 0.01
        assert (np.linalg.norm(X - M) < 1e-6) == right


def spike(d1, d2):
    """One entry different from 0: of low rank and sparse at once."""
    return jnp.zeros((d1, d2)).at[0, 0].set(1.0)


def signs(d, rank):
    left, right = jax.random.rademacher(jax.random.key(1), (2, d, rank), float)
    return left @ right.T


@pytest.mark.parametrize(
    ("form", "Y", "size"),
    [
        ("weight", 2.0 * spike(4, 4), 1.1),
        ("radius", spike(40, 50), 0.5),
        ("weight", signs(20, 2), 0.1),
    ],
    ids=["spike, priced", "spike, in a ball", "signs"],
)
def test_where_steps_of_one_length_stall(form, Y, size):
    solution = solve(form, Y, size)
    assert solution.converged
    assert float(solution.gap) <= 1e-9


def test_transformations_agree_with_the_eager_solution():
    pairs = [separation(seed, (8, 9), 1, 0.1) for seed in range(3)]
    pairs.append((jnp.zeros((8, 9)), jnp.zeros((8, 9))))
    Ys = jnp.stack([M + S0 for M, S0 in pairs])
    radii = jnp.stack([jnp.sum(jnp.abs(S0)) + 1e-3 for _, S0 in pairs])
    mapped = jax.lax.map(lambda pair: fl.robust_pca(*pair), (Ys, radii))
    for batched, solver, sizes in (
        (jax.vmap(fl.robust_pca)(Ys, radii), fl.robust_pca, radii),
        (jax.vmap(fl.pursuit, in_axes=(0, None))(Ys, 0.3), fl.pursuit, jnp.full(4, 0.3)),
    ):
        for i in range(4):
            eager = solver(Ys[i], sizes[i])
            assert eager.converged and batched.converged[i]
            assert jnp.allclose(batched.X[i], eager.X, atol=1e-8)
            if solver is fl.robust_pca:
                assert jnp.allclose(mapped.X[i], eager.X, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1e150])
@pytest.mark.parametrize("form", FORMS)
def test_the_unit_of_the_data_does_not_matter(form, scale):
    M, S0 = separation(1, (12, 10), 1, 0.1)
    plain = solve(form, M + S0, 0.3)
    solution = solve(form, scale * (M + S0), 0.3 * scale if form == "radius" else 0.3)
    assert plain.converged and solution.converged
    assert jnp.linalg.norm(solution.X / scale - plain.X) < 1e-8


@pytest.mark.parametrize("radius", [1e-6, 1e-12, 2e-16, 1e-30, 1e-300])
def test_an_answer_that_leaves_the_ball_does_not_pass(radius):
    """Where rounding exceeds the radius, no step can meet it."""
    M, S0 = separation(0, (12, 10), 2, 0.05)
    for Y in (M + S0, jnp.ones((12, 10)), (M + S0).at[0, 0].set(1e17)):
        solution = fl.robust_pca(Y, radius)
        excess = float(jnp.sum(jnp.abs(Y - solution.X))) / radius - 1.0
        assert not solution.converged or excess < 1e-8


@pytest.mark.parametrize("form", FORMS)
def test_what_cannot_raise_inside_a_trace_does_not_pass_as_an_answer(form):
    Y = jnp.eye(4)
    for bad, size in ((Y, -1.0), (Y, 0.0), (Y.at[0, 0].set(jnp.nan), 1.0), (Y, jnp.nan)):
        solution = jax.jit(lambda Y, size: solve(form, Y, size))(bad, size)
        assert not solution.converged


@pytest.mark.parametrize("form", FORMS)
def test_bad_arguments_are_named(form):
    Y = jnp.eye(4)
    for size in (0.0, -1.0):
        with pytest.raises(ValueError, match=f"`{form}` must be positive"):
            solve(form, Y, size)
    with pytest.raises(ValueError, match=f"`{form}` has NaN"):
        solve(form, Y, np.inf)
    with pytest.raises(ValueError, match="`Y` must have 2 axes"):
        solve(form, Y[0], 1.0)
    with pytest.raises(ValueError, match="`Y` has NaN"):
        solve(form, Y.at[0, 0].set(jnp.nan), 1.0)
    with pytest.raises(TypeError, match="`Y` must be float64"):
        solve(form, Y.astype(jnp.float32), 1.0)
    with pytest.raises(ValueError, match="`tolerance` must lie between 0 and 1"):
        solve(form, Y, 1.0, tolerance=2.0)
    with pytest.raises(ValueError, match="`Y` must hold at least one number"):
        solve(form, np.zeros((0, 4)), 1.0)
    with pytest.raises(TypeError, match="`tolerance` must be a number that is known"):
        jax.jit(lambda tolerance: solve(form, Y, 1.0, tolerance=tolerance))(0.1)
    with pytest.raises(ValueError, match="`max_iterations`"):
        solve(form, Y, 1.0, max_iterations=0)
    with pytest.raises(TypeError, match="no derivative"):
        jax.grad(lambda Y: jnp.sum(solve(form, Y, 1.0).X))(Y)
