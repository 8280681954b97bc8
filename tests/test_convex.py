"""The convex programs against cvxpy, their certified gaps, their statuses and their errors."""

import json
import subprocess
import sys

import cvxpy
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatlib as fl

SEEDS = st.integers(min_value=0, max_value=2**20)
example = hypothesis.settings(max_examples=15, deadline=None, derandomize=True)


def key(seed):
    return jax.random.key(seed)


def problem(kind, seed=0):
    """A small instance (op, M) of each kind, in the regime where M is recovered."""
    k1, k2 = jax.random.split(key(seed))
    match kind:
        case "gaussian":
            return fl.gaussian_sensing(k1, 32, (6, 6)), fl.low_rank(k2, (6, 6), 1)
        case "wide":
            return fl.gaussian_sensing(k1, 34, (5, 8)), fl.low_rank(k2, (5, 8), 1)
        case "tall":
            return fl.gaussian_sensing(k1, 34, (8, 5)), fl.low_rank(k2, (8, 5), 1)
        case "bilinear":
            return fl.bilinear_sensing(k1, 34, (7, 5)), fl.low_rank(k2, (7, 5), 1)
        case "completion":
            mask = np.asarray(jax.random.bernoulli(k1, 0.75, (7, 6)))
            return fl.entries(mask), fl.low_rank(k2, (7, 6), 1)
        case "quadratic":
            return fl.quadratic_sensing(k1, 20, 6), fl.low_rank_symmetric(k2, 6, (1, 1))
        case "identity":
            return fl.identity((5, 4)), fl.low_rank(k2, (5, 4), 2)


KINDS = ["gaussian", "wide", "tall", "bilinear", "completion", "quadratic", "identity"]


def matrices(op):
    """The matrices A_i of a map, (m, d1 d2)."""
    return np.asarray(jax.vmap(op.adjoint)(jnp.eye(op.m))).reshape(op.m, -1)


def oracle(op, b, weighting="flat", strength=None):
    """The same program by cvxpy and SCS: value and X."""
    d1, d2 = op.shape
    D1, D2 = op.rescaling() if weighting == "flat" else (np.eye(d1), np.eye(d2))
    X = cvxpy.Variable((d1, d2), symmetric=op.symmetric)
    norm = cvxpy.normNuc(np.asarray(D1) @ X @ np.asarray(D2))
    image = matrices(op) @ cvxpy.vec(X, order="C")
    if strength is None:
        task = cvxpy.Problem(cvxpy.Minimize(norm), [image == np.asarray(b)])
    else:
        misfit = cvxpy.sum_squares(image - np.asarray(b)) / op.m
        task = cvxpy.Problem(cvxpy.Minimize(misfit + 4 * float(strength) * norm))
    task.solve(solver=cvxpy.SCS, eps=1e-9, max_iters=200_000)
    assert task.status == "optimal"
    return task.value, X.value


def nuclear_norm(X):
    return float(jnp.linalg.norm(X, "nuc"))


def error(X, M):
    return float(jnp.linalg.norm(X - M) / jnp.linalg.norm(M))


# ------------------------------------------------------------------ against cvxpy


@pytest.mark.parametrize("kind", KINDS[:-1])
@pytest.mark.parametrize("weighting", ["flat", "nuclear"])
def test_solutions_agree_with_cvxpy(kind, weighting):
    op, M = problem(kind)
    solve = fl.flat_solution if weighting == "flat" else fl.nuclear_solution
    for share in (1.0, 0.6):  # enough measurements, and too few: then M is not the minimiser
        few = op.subset(np.arange(int(share * op.m)))
        if weighting == "flat" and min(map(jnp.linalg.det, few.rescaling())) < 1e-8:
            continue
        b = few(M)
        solution = solve(few, b)
        assert solution.converged
        value, X = oracle(few, b, weighting)
        D1, D2 = few.rescaling() if weighting == "flat" else map(jnp.eye, op.shape)
        assert nuclear_norm(D1 @ solution.X @ D2) == pytest.approx(value, rel=1e-6)
        if fl.recovery_certificate(few, M, weighting).recovers == "yes":
            assert error(solution.X, M) < 1e-8
            assert error(X, M) < 1e-5  # SCS
        else:
            assert error(solution.X, M) > 1e-3


@pytest.mark.parametrize("kind", ["wide", "bilinear", "completion", "quadratic", "identity"])
@pytest.mark.parametrize("weighting", ["flat", "nuclear"])
def test_penalised_solutions_agree_with_cvxpy(kind, weighting):
    op, M = problem(kind)
    b = op(M) + 0.05 * jax.random.normal(key(7), (op.m,))
    for strength in (1e-3, 2e-2):
        solution = fl.penalized_solution(op, b, strength, weighting)
        assert solution.converged
        value, X = oracle(op, b, weighting, strength)
        D1, D2 = op.rescaling() if weighting == "flat" else map(jnp.eye, op.shape)
        misfit = jnp.sum((op(solution.X) - b) ** 2) / op.m
        objective = misfit + 4 * strength * nuclear_norm(D1 @ solution.X @ D2)
        assert float(objective) == pytest.approx(value, rel=1e-6)
        assert float(jnp.linalg.norm(solution.X - X)) < 1e-4
        assert float(solution.residual) == pytest.approx(
            float(jnp.linalg.norm(op(solution.X) - b) / jnp.linalg.norm(b)), rel=1e-9
        )


def test_penalty_is_the_scaled_trace_and_takes_inconsistent_measurements():
    op = fl.gaussian_sensing(key(1), 60, (6, 5))  # more measurements than entries
    M = fl.low_rank(key(2), (6, 5), 1)
    b = op(M) + 0.1 * jax.random.normal(key(3), (60,))
    strength = 0.02
    solution = fl.penalized_solution(op, b, strength)
    assert solution.converged
    L, R = fl.flat_factors(op, solution.X, 5)
    objective = fl.factor_loss(op, b)((L, R)) + strength * fl.scaled_trace(op, L, R)
    norm = fl.flat_norm(op, solution.X)
    assert float(objective) == pytest.approx(
        float(jnp.sum((op(solution.X) - b) ** 2) / op.m + 4 * strength * norm), rel=1e-10
    )
    for seed in range(5):  # no nearby pair of factors does better
        dL, dR = (1e-3 * jax.random.normal(key(seed), F.shape) for F in (L, R))
        other = fl.factor_loss(op, b)((L + dL, R + dR)) + strength * fl.scaled_trace(
            op, L + dL, R + dR
        )
        assert other > objective


def test_strong_penalty_gives_zero():
    op, M = problem("gaussian")
    solution = fl.penalized_solution(op, op(M), 1e3)
    assert solution.converged
    assert jnp.max(jnp.abs(solution.X)) < 1e-12


# ------------------------------------------------------------------ accuracy


@pytest.mark.parametrize("kind", KINDS)
def test_certified_instances_are_solved_to_1e_minus_8(kind):
    certified = 0
    for seed in range(6):
        op, M = problem(kind, seed)
        if min(map(jnp.linalg.det, op.rescaling())) <= 0:
            continue
        solution = fl.flat_solution(op, op(M))
        rho = fl.recovery_certificate(op, M, accuracy=1e-2).rho
        assert float(jnp.linalg.norm(op(solution.X) - op(M))) <= 1e-13 * op.m
        assert solution.residual < 1e-14 * op.m
        if rho < 0.95:
            certified += 1
            assert solution.converged
            assert error(solution.X, M) <= 1e-8
            assert solution.gap <= 1e-8
    assert certified >= 3


@pytest.mark.parametrize("sigma", [1e-4, 1e-3])
def test_small_noise_does_not_stall(sigma):
    """The dual variable then drifts by equal steps, which no extrapolation can shorten."""

    def status(seed):
        op, M, noise = (jax.random.fold_in(seed, i) for i in range(3))
        op, M = fl.gaussian_sensing(op, 40, (8, 8)), fl.low_rank(M, (8, 8), 1)
        return fl.flat_solution(op, op(M) + sigma * jax.random.normal(noise, (40,))).status

    codes = jax.lax.map(jax.jit(status), jax.random.split(key(8), 12))
    assert np.all(np.asarray(codes) == fl.convex.Status.CONVERGED)


def test_more_measurements_than_entries_determine_the_matrix():
    op = fl.gaussian_sensing(key(0), 50, (6, 5))
    M = jax.random.normal(key(1), (6, 5))
    assert error(fl.flat_solution(op, op(M)).X, M) < 1e-12


@pytest.mark.parametrize("kind", ["wide", "bilinear", "quadratic"])
def test_dependent_and_zero_measurements_change_nothing(kind):
    op, M = problem(kind)
    extended = jax.tree.map(lambda rows: jnp.concatenate([rows, rows[:6], 0 * rows[:5]]), op)
    solution = fl.flat_solution(extended, extended(M))
    assert solution.converged
    assert error(solution.X, M) < 1e-8
    assert solution.residual < 1e-13


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6, 1e-9])
def test_nearly_dependent_measurements(distance):
    op, M = problem("wide")
    change = distance * jax.random.normal(key(9), op.A[:3].shape)
    extended = fl.dense(jnp.concatenate([op.A, op.A[:3] + change]))
    # Rounding in b is magnified by 1/distance, so the last digits are lost.
    solution = fl.flat_solution(extended, extended(M), tolerance=1e-8)
    assert solution.converged
    assert error(solution.X, M) < 1e-7


def test_nearly_dependent_bilinear_measurements_hold_to_rounding():
    op, M = problem("bilinear")
    nearly = op.a[:3] + 1e-4 * jax.random.normal(key(9), op.a[:3].shape)
    extended = fl.rank_one(jnp.concatenate([op.a, nearly]), jnp.concatenate([op.b, op.b[:3]]))
    solution = fl.flat_solution(extended, extended(M), tolerance=1e-7)
    assert solution.converged
    assert solution.residual < 1e-13
    assert error(solution.X, M) < 1e-6


def test_zero_measurements_have_the_zero_solution():
    op, _ = problem("wide")
    for solution in (
        fl.flat_solution(op, jnp.zeros(op.m)),
        fl.penalized_solution(op, jnp.zeros(op.m), 1.0),
    ):
        assert solution.converged and not jnp.any(solution.X) and solution.gap == 0.0


def test_quadratic_solutions_are_symmetric():
    op, M = problem("quadratic")
    X = fl.flat_solution(op.subset(np.arange(12)), op(M)[:12]).X
    assert jnp.array_equal(X, X.T)


def _sizes(jaxpr):
    """Sizes of all intermediate arrays of a program, loops and branches included."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _sizes(inner)


@pytest.mark.parametrize(
    "solve", [fl.flat_solution, lambda op, b: fl.penalized_solution(op, b, 1.0)]
)
def test_bilinear_measurements_are_never_stored_densely(solve):
    def largest(op):
        return max(_sizes(jax.make_jaxpr(solve)(op, jnp.ones(op.m)).jaxpr))

    bilinear = fl.bilinear_sensing(key(0), 64, (24, 20))
    assert largest(bilinear) < bilinear.m * 24 * 20 / 3
    assert largest(fl.gaussian_sensing(key(0), 64, (24, 20))) >= 64 * 24 * 20


LARGE = """
import json, jax
jax.config.update("jax_enable_x64", True)
import flatlib as fl, jax.numpy as jnp

def peak():  # of this process in bytes; ru_maxrss would count the memory of its parent, too
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

jnp.zeros(3).block_until_ready()
before = peak()
k1, k2 = jax.random.split(jax.random.key(0))
op, M = fl.bilinear_sensing(k1, 4000, (200, 200)), fl.low_rank(k2, (200, 200), 2)
solution = fl.flat_solution(op, op(M), tolerance=1e-7)
error = float(jnp.linalg.norm(solution.X - M))
print(json.dumps([solution.converged, error, peak() - before]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_bilinear_problem_is_solved_in_little_memory():
    """The m x d1 x d2 array alone would take 1.3 GB, a Gram matrix takes 0.13 GB."""
    run = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    converged, error, memory = json.loads(run.stdout)
    assert converged and error <= 1e-6
    assert memory < 0.8e9


# ------------------------------------------------------------------ the gap is a bound


@pytest.mark.parametrize("kind", ["wide", "bilinear", "completion", "quadratic"])
def test_gap_is_a_bound_at_points_that_are_not_optimal(kind):
    op, M = problem(kind)
    op = op.subset(np.arange(op.m)[: int(0.8 * op.m)])
    for solve in (
        lambda **settings: fl.nuclear_solution(op, op(M), **settings),
        lambda **settings: fl.penalized_solution(op, op(M), 1e-2, "nuclear", **settings),
    ):
        penalised = solve(max_iterations=1).residual > 1e-6

        def objective(X, penalised=penalised):
            misfit = jnp.sum((op(X) - op(M)) ** 2) / op.m
            return nuclear_norm(X) + penalised * float(misfit) / 4e-2

        best = objective(solve().X)
        gaps = []
        for iterations in (1, 2, 4, 8, 16):
            solution = solve(max_iterations=iterations)
            value = objective(solution.X)
            assert value * (1.0 - float(solution.gap)) <= best * (1.0 + 1e-9)
            gaps.append(float(solution.gap))
        assert gaps[0] > 1e-2  # not optimal, so the bound says something
        assert gaps[-1] < gaps[0]


def test_gap_does_not_depend_on_what_is_returned_being_optimal():
    # A bound below M's own norm at every stage: M is feasible.
    op, M = problem("gaussian")
    for iterations in range(1, 20, 3):
        solution = fl.flat_solution(op, op(M), max_iterations=iterations)
        bound = fl.flat_norm(op, solution.X) * (1.0 - solution.gap)
        assert bound <= fl.flat_norm(op, M) * (1.0 + 1e-12)
        assert solution.residual < 1e-12  # feasible even when not optimal


# ------------------------------------------------------------------ statuses


def test_statuses_are_told_apart():
    op, M = problem("gaussian")
    b = op(M)
    assert fl.flat_solution(op, b).status_name == "converged"
    limited = fl.flat_solution(op, b, max_iterations=5)
    assert limited.status_name == "iteration_limit" and limited.iterations == 5
    assert not limited.converged and limited.gap > 1e-9
    stalled = fl.flat_solution(op, b, tolerance=1e-18)
    assert stalled.status_name == "stalled" and stalled.iterations < 20_000
    twice = fl.dense(jnp.concatenate([op.A, op.A]))
    contradiction = jnp.concatenate([b, b + 1e-6])
    unseen = fl.dense(op.A.at[:, :, 2].set(0.0))
    solve = jax.jit(fl.flat_solution)
    assert solve(twice, contradiction).status_name == "inconsistent"
    assert solve(twice, jnp.concatenate([b, b])).status_name == "converged"
    assert solve(unseen, unseen(M)).status_name == "unobserved"
    assert jax.jit(fl.nuclear_solution)(unseen, unseen(M)).status_name == "converged"
    assert not solve(unseen, unseen(M)).converged


def test_non_finite_input_inside_a_trace_does_not_pass_as_an_answer():
    op, M = problem("gaussian")
    solution = jax.jit(fl.flat_solution)(op, op(M).at[3].set(jnp.nan))
    assert not solution.converged


def test_transformations_agree_with_the_eager_solution():
    instances = [problem("wide", seed) for seed in range(3)]
    As = jnp.stack([op.A for op, _ in instances])
    bs = jnp.stack([op(M) for op, M in instances])

    def solve(A, b):
        return fl.flat_solution(fl.dense(A), b)

    eager = [solve(A, b) for A, b in zip(As, bs, strict=True)]
    for batched in (
        jax.vmap(solve)(As, bs),
        jax.lax.map(lambda instance: solve(*instance), (As, bs)),
        jax.jit(jax.vmap(solve))(As, bs),
    ):
        assert batched.status_name == ["converged"] * 3
        for one, X in zip(eager, batched.X, strict=True):
            assert float(jnp.linalg.norm(one.X - X)) < 1e-8


def test_a_batch_padded_with_zero_measurements():
    instances = [(fl.gaussian_sensing(key(m), m, (6, 6)), m) for m in (26, 30, 34)]
    M = fl.low_rank(key(3), (6, 6), 1)
    As = jnp.stack([jnp.pad(op.A, ((0, 34 - m), (0, 0), (0, 0))) for op, m in instances])
    bs = jnp.stack([jnp.pad(op(M), (0, 34 - m)) for op, m in instances])
    batch = jax.lax.map(lambda one: fl.flat_solution(fl.dense(one[0]), one[1]), (As, bs))
    for (op, _), X in zip(instances, batch.X, strict=True):
        assert float(jnp.linalg.norm(fl.flat_solution(op, op(M)).X - X)) < 1e-7


def test_sizes_of_one_bucket_share_one_program():
    from flatlib.convex import solve

    M = fl.low_rank(key(3), (6, 6), 1)
    op = fl.gaussian_sensing(key(0), 32, (6, 6))
    fl.flat_solution(op, op(M))
    compiled = solve._cache_size()
    for m in (29, 30, 31):
        few = op.subset(np.arange(m))
        fl.flat_solution(few, few(M))
    assert solve._cache_size() == compiled


# ------------------------------------------------------------------ flat factors and regularity


@pytest.mark.parametrize("kind", KINDS)
def test_flat_factors_reproduce_the_matrix_at_least_scaled_trace(kind):
    op, M = problem(kind)
    rank = int(jnp.linalg.matrix_rank(M))
    for k in (rank, rank + 1, 9):
        L, R = fl.flat_factors(op, M, k)
        assert L.shape == (op.shape[0], k) and R.shape == (op.shape[1], k)
        assert error(L @ R.T, M) < 1e-12
        assert float(fl.scaled_trace(op, L, R)) == pytest.approx(
            4.0 * float(fl.flat_norm(op, M)), rel=1e-9
        )
    B = jnp.eye(9) + 0.1 * jax.random.normal(key(5), (9, 9))
    other = fl.scaled_trace(op, L @ B, R @ jnp.linalg.inv(B).T)
    assert other > fl.scaled_trace(op, L, R) * (1 + 1e-9)


def random_pair(seed, shape=(5, 4), k=3):
    keys = jax.random.split(key(seed), 3)
    scales = 10.0 ** jax.random.uniform(keys[2], (2,), minval=-1.0, maxval=1.0)
    L = scales[0] * jax.random.normal(keys[0], (shape[0], k))
    return L, scales[1] * jax.random.normal(keys[1], (shape[1], k))


def random_map(seed, shape=(5, 4)):
    """A map with 9 measurements and a condition number of D that varies widely."""
    keys = jax.random.split(key(seed), 2)
    stretch = 10.0 ** jax.random.uniform(keys[1], (shape[0], 1), minval=-1.0, maxval=0.5)
    return fl.dense(stretch * jax.random.normal(keys[0], (9, *shape)))


def condition(op):
    values = jnp.concatenate([jnp.linalg.eigvalsh(D) for D in op.rescaling()])
    return float(values.min()), float(values.max())


@example
@hypothesis.given(SEEDS)
def test_flat_factors_are_d_balanced_and_no_pair_is_flatter(seed):
    op, (L, R) = random_map(seed), random_pair(seed)
    D1, D2 = op.rescaling()
    flat_L, flat_R = fl.flat_factors(op, L @ R.T, 3)
    left, right = flat_L.T @ D1 @ D1 @ flat_L, flat_R.T @ D2 @ D2 @ flat_R
    assert float(jnp.max(jnp.abs(left - right))) <= 1e-10 * float(jnp.trace(left))
    assert fl.scaled_trace(op, flat_L, flat_R) <= fl.scaled_trace(op, L, R) * (1 + 1e-10)


@example
@hypothesis.given(SEEDS)
def test_the_flat_value_is_invariant_under_orthogonal_changes_of_basis(seed):
    op, M = random_map(seed), random_pair(seed)[0] @ random_pair(seed + 1)[1].T
    U = jnp.linalg.qr(jax.random.normal(key(seed + 2), (5, 5)))[0]
    V = jnp.linalg.qr(jax.random.normal(key(seed + 3), (4, 4)))[0]
    turned = fl.dense(U @ op.A @ V.T)
    one, two = fl.flat_solution(op, op(M)), fl.flat_solution(turned, turned(U @ M @ V.T))
    value = float(fl.flat_norm(op, one.X))
    assert one.converged and two.converged
    assert float(fl.flat_norm(turned, two.X)) == pytest.approx(value, rel=1e-8)
    assert float(fl.flat_norm(turned, U @ one.X @ V.T)) == pytest.approx(value, rel=1e-10)


@example
@hypothesis.given(SEEDS)
def test_flat_pairs_are_nearly_norm_minimal_and_balanced(seed):
    op, (L, R) = random_map(seed), random_pair(seed)
    low, high = condition(op)
    kappa = high / low
    X = L @ R.T
    L, R = fl.flat_factors(op, X, 3)
    norm = float(jnp.sum(L**2) + jnp.sum(R**2))
    imbalance = nuclear_norm(L.T @ L - R.T @ R)
    least = 2.0 * nuclear_norm(X)
    assert norm <= kappa**2 * least * (1 + 1e-10)
    assert norm <= (kappa + 1.0 / kappa) * nuclear_norm(X) * (1 + 1e-10)
    assert imbalance <= (kappa - 1.0 / kappa) * nuclear_norm(X) * (1 + 1e-10)
    for c in (low**2, high**2, (low**2 + high**2) / 2.0, 0.3 * high**2):
        bound = max(float(jnp.linalg.norm(jnp.eye(len(D)) - D @ D / c, 2)) for D in op.rescaling())
        assert imbalance <= bound * norm * (1 + 1e-10)


@pytest.mark.parametrize("kappa", [1.5, 4.0])
def test_the_sharp_regularity_bounds_are_attained(kappa):
    # D1 = diag(a, b), D2 = diag(c, d) with D1 e1 = low e1, D2 e1 = kappa low e1 and M = e1 e1^T.
    ratio = kappa**2
    weights = np.array([[1.0, 0.0], [ratio - 1.0, 0.0]])  # squared sizes of A_i = w e_i e_j^T
    weights = weights + 1e-9  # every entry is seen
    A = np.sqrt(weights).reshape(4, 1) * np.eye(4)
    op = fl.dense(A.reshape(4, 2, 2))
    D1, D2 = (np.diag(D) for D in op.rescaling())
    assert D2[0] / D1[0] == pytest.approx(kappa, rel=1e-6)
    X = jnp.zeros((2, 2)).at[0, 0].set(1.0)
    L, R = fl.flat_factors(op, X, 1)
    assert float(jnp.sum(L**2) + jnp.sum(R**2)) == pytest.approx(kappa + 1 / kappa, rel=1e-6)
    assert nuclear_norm(L.T @ L - R.T @ R) == pytest.approx(kappa - 1 / kappa, rel=1e-6)


def test_kappa_squared_is_sharp_when_the_matrices_differ():
    # |L|^2 + |R|^2 of the flat pair against the norm-minimal one: the ratio is kappa^2 nearly.
    squared = 4.08
    w = (1 - squared / 16) / (squared - 1)
    A = np.zeros((3, 2, 2))
    A[0], A[1, 0, 1], A[2, 1, 0] = np.diag([0.25, 1.0]), np.sqrt(w), np.sqrt(w)
    op, b = fl.dense(A), jnp.array([1.0, 0.0, 0.0])
    low, high = condition(op)
    assert (high / low) ** 2 == pytest.approx(squared, rel=1e-10)
    flat, nuclear = fl.flat_solution(op, b), fl.nuclear_solution(op, b)
    ratio = sum(float(jnp.sum(F**2)) for F in fl.flat_factors(op, flat.X, 2)) / (
        2 * nuclear_norm(nuclear.X)
    )
    assert ratio == pytest.approx(4.0, rel=1e-6)


# ------------------------------------------------------------------ errors


SOLVERS = [
    fl.flat_solution,
    fl.nuclear_solution,
    lambda op, b, **settings: fl.penalized_solution(op, b, 0.1, **settings),
]


@pytest.mark.parametrize("solve", SOLVERS)
def test_bad_measurements_are_refused(solve):
    op, M = problem("gaussian")
    b = op(M)
    with pytest.raises(ValueError, match=r"`b` must have shape \(32,\)"):
        solve(op, b[:-1])
    with pytest.raises(TypeError, match="`b` must be float64"):
        solve(op, b.astype(jnp.float32))
    with pytest.raises(ValueError, match="`b` has NaN"):
        solve(op, b.at[2].set(jnp.nan))
    with pytest.raises(TypeError, match="`op` must be a measurement map"):
        solve(op.A, b)
    with pytest.raises(ValueError, match="`max_iterations`"):
        solve(op, b, max_iterations=0)
    with pytest.raises(ValueError, match="`tolerance`"):
        solve(op, b, tolerance=-1e-9)
    with pytest.raises(ValueError, match=r"`b` must have shape"):
        jax.jit(solve)(op, b[:-1])


def test_float32_mode_is_refused(single_precision):
    with pytest.raises(TypeError, match="jax_enable_x64"):
        fl.flat_solution(fl.identity((2, 2)), np.ones(4))


@pytest.mark.parametrize("solve", [fl.flat_solution, fl.nuclear_solution])
def test_inconsistent_measurements_name_the_remedy(solve):
    op = fl.gaussian_sensing(key(1), 40, (6, 5))
    b = op(fl.low_rank(key(2), (6, 5), 1)) + 1e-5 * jax.random.normal(key(3), (40,))
    with pytest.raises(ValueError, match=r"`b` is inconsistent.*penalized_solution"):
        solve(op, b)
    twice = fl.bilinear_sensing(key(1), 10, (6, 5))
    twice = fl.rank_one(jnp.tile(twice.a, (2, 1)), jnp.tile(twice.b, (2, 1)))
    b = twice(fl.low_rank(key(2), (6, 5), 1)).at[3].add(1e-4)
    with pytest.raises(ValueError, match="`b` is inconsistent"):
        solve(twice, b)


@pytest.mark.parametrize("solve", [SOLVERS[0], SOLVERS[2]])
def test_what_is_never_observed_is_named(solve):
    mask = np.ones((5, 4), bool)
    mask[[1, 3]] = False
    op = fl.entries(mask)
    with pytest.raises(ValueError, match=r"never observes rows \[1, 3\].*leave it out"):
        solve(op, jnp.ones(op.m))
    mask[:, 2] = False
    op = fl.entries(mask)
    with pytest.raises(ValueError, match=r"rows \[1, 3\] and columns \[2\]"):
        solve(op, jnp.ones(op.m))
    op = fl.gaussian_sensing(key(0), 12, (5, 4))
    blind = op.A - op.A.mean(axis=2, keepdims=True)
    with pytest.raises(ValueError, match=r"1 combination\(s\) of columns"):
        solve(fl.dense(blind), jnp.ones(12))
    with pytest.raises(ValueError, match=r"3 combination\(s\) of rows"):
        solve(fl.rank_one(op.A[:2, :, 0], jnp.ones((2, 1))), jnp.ones(2))
    assert fl.nuclear_solution(fl.dense(blind), fl.dense(blind)(jnp.ones((5, 4)))).converged


def test_bad_settings_of_the_penalised_program():
    op, M = problem("gaussian")
    for strength in (0.0, -1.0):
        with pytest.raises(ValueError, match=r"`strength` must be positive.*flat_solution"):
            fl.penalized_solution(op, op(M), strength)
    with pytest.raises(ValueError, match="`weighting` must be 'flat' or 'nuclear'"):
        fl.penalized_solution(op, op(M), 1.0, weighting="flattest")


def test_a_negative_strength_inside_a_trace_does_not_pass_as_an_answer():
    op, M = problem("gaussian")
    solve = jax.jit(lambda strength: fl.penalized_solution(op, op(M), strength))
    assert solve(0.1).converged
    assert not solve(-1.0).converged
    strength = jnp.asarray(0.1)  # known, although the measurements are not
    assert jax.jit(lambda b: fl.penalized_solution(op, b, strength))(op(M)).converged


def test_solutions_refuse_to_be_differentiated():
    op, M = problem("gaussian")
    with pytest.raises(TypeError, match="no derivative"):
        jax.grad(lambda b: jnp.sum(fl.flat_solution(op, b).X))(op(M))
    with pytest.raises(TypeError, match="no derivative"):
        jax.jvp(lambda s: fl.penalized_solution(op, op(M), s).X, (0.1,), (1.0,))


def test_bad_arguments_of_flat_factors():
    op = fl.gaussian_sensing(key(0), 30, (6, 5))
    M = fl.low_rank(key(1), (6, 5), 2)
    with pytest.raises(ValueError, match="`k` = 1 columns cannot factor X, whose rank is 2"):
        fl.flat_factors(op, M, 1)
    with pytest.raises(ValueError, match=r"`X` must have shape \(6, 5\)"):
        fl.flat_factors(op, M.T, 2)
    with pytest.raises(ValueError, match="`k` must be an integer"):
        fl.flat_factors(op, M, 0)
    with pytest.raises(ValueError, match=r"never observes rows \[2\]"):
        fl.flat_factors(fl.dense(op.A.at[:, 2].set(0.0)), M, 2)
    with pytest.raises(ValueError, match=r"`X` must have shape"):
        fl.flat_norm(op, M.T)
    with pytest.raises(TypeError, match="`op` must be a measurement map"):
        fl.flat_factors(op.A, M, 2)
    with pytest.raises(TypeError, match="`op` must be a measurement map"):
        fl.flat_norm(op.A, M)
