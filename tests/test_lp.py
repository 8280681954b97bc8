"""Weighted l_p minimisation against closed forms, linear programming and cvxpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

import flatlib as fl

EXPONENTS = [1.0, 1.01, 1.2, 4 / 3, 1.5, 1.9, 2.0]


def instance(seed, m, n, kind="gaussian"):
    keys = jax.random.split(jax.random.key(seed), 3)
    A = jax.random.normal(keys[0], (m, n))
    if kind == "signs":
        A = jnp.sign(A)
    if kind == "correlated":
        A = A + 5.0 * A[:, :1]
    if kind == "dependent":
        A = A.at[-2:].set(jnp.stack([A[0] + A[1], 3.0 * A[2]]))
    weights = jnp.sum(A**2, axis=0)
    if kind == "uneven":
        weights = 10.0 ** jax.random.uniform(keys[1], (n,), minval=-3.0, maxval=3.0)
    return A, A @ jax.random.normal(keys[2], (n,)), weights


KINDS = ["gaussian", "signs", "correlated", "dependent", "uneven"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_linear_program_agrees_with_highs(kind):
    for seed in range(5):
        A, b, weights = instance(seed, 8, 15, kind)
        found = fl.lp_solution(A, b, weights, 1.0)
        assert found.converged and found.gap <= 1e-9 and found.residual <= 1e-11
        cost, split = np.concatenate([weights, weights]), np.hstack([A, -A])
        value = scipy.optimize.linprog(cost, A_eq=split, b_eq=b).fun
        assert jnp.sum(weights * jnp.abs(found.X)) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", EXPONENTS[1:])
def test_the_solution_is_stationary_in_the_kernel(kind, p):
    """x is a minimiser where p w |x|^(p-1) sign(x) is orthogonal to the kernel of A.

    Below p = 1.5 this is no measure of the error of small entries, whose slope is steep: there a
    descent in the kernel has to find nothing smaller.
    """
    for seed in range(5):
        A, b, weights = instance(seed, 8, 15, kind)
        found = fl.lp_solution(A, b, weights, p)
        assert found.converged and found.gap <= 1e-9 and found.residual <= 1e-11
        unit = weights ** (1 / p)
        kernel, z = scipy.linalg.null_space(A / unit), np.asarray(unit * found.X)

        def slope(z):
            return p * np.abs(z) ** (p - 1) * np.sign(z)

        if p >= 1.5:
            assert np.linalg.norm(kernel.T @ slope(z)) < 1e-4 * np.linalg.norm(slope(z))
        search = scipy.optimize.minimize(
            lambda y: np.sum(np.abs(z + kernel @ y) ** p),  # noqa: B023
            np.zeros(kernel.shape[1]),
            jac=lambda y: kernel.T @ slope(z + kernel @ y),  # noqa: B023
            options={"gtol": 1e-12},
        )
        assert np.sum(np.abs(z) ** p) <= (1 + 2e-9) * search.fun


def test_p_equal_two_is_weighted_least_squares():
    A, b, weights = instance(0, 6, 20)
    scaled = A / jnp.sqrt(weights)
    x = jnp.linalg.lstsq(scaled, b)[0] / jnp.sqrt(weights)
    np.testing.assert_allclose(fl.lp_solution(A, b, weights, 2.0).X, x, rtol=0, atol=1e-8)


@pytest.mark.parametrize("p", [1.25, 1.5, 1.75])
def test_one_equation_in_closed_form(p):
    """Hölder's equality: x_i is proportional to sign(a_i) (|a_i| / w_i)^(1/(p-1))."""
    A, b, weights = instance(1, 1, 7, "uneven")
    direction = jnp.sign(A[0]) * (jnp.abs(A[0]) / weights) ** (1 / (p - 1))
    x = direction * b[0] / (A[0] @ direction)
    unit = weights ** (1 / p)
    error = jnp.linalg.norm(unit * (fl.lp_solution(A, b, weights, p).X - x))
    assert error < 1e-7 * jnp.linalg.norm(unit * x)


@pytest.mark.parametrize("p", [1.0, 4 / 3, 1.5])
def test_it_agrees_with_a_conic_solver(p):
    import cvxpy

    A, b, weights = instance(2, 10, 25)
    x = cvxpy.Variable(25)
    unit = np.asarray(weights ** (1 / p))
    problem = cvxpy.Problem(
        cvxpy.Minimize(cvxpy.pnorm(cvxpy.multiply(unit, x), p)),
        [np.asarray(A) @ x == np.asarray(b)],
    )
    problem.solve(solver="CLARABEL")
    found = fl.lp_solution(A, b, weights, p)
    assert jnp.sum(weights * jnp.abs(found.X) ** p) == pytest.approx(problem.value**p, rel=1e-6)
    np.testing.assert_allclose(found.X, x.value, atol=1e-4)


def test_a_sparse_vector_is_recovered_at_p_one_only():
    A, _, weights = instance(3, 30, 60)
    x = jnp.zeros(60).at[jnp.array([3, 17, 40, 55])].set(jnp.array([1.0, -2.0, 0.5, 1.5]))
    errors = [jnp.linalg.norm(fl.lp_solution(A, A @ x, weights, p).X - x) for p in (1.0, 4 / 3)]
    assert errors[0] < 1e-8 and errors[1] > 0.1


@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize("p", [1.0, 1.5])
def test_units_do_not_matter(scale, p):
    A, b, weights = instance(4, 6, 12)
    x = fl.lp_solution(A, b, weights, p).X
    cases = [(A, scale * b, weights, scale), (A, b, scale * weights, 1.0)]
    for *arguments, factor in [*cases, (scale * A, b, weights, 1.0 / scale)]:
        found = fl.lp_solution(*arguments, p)
        assert found.converged
        np.testing.assert_allclose(found.X / factor, x, atol=1e-7)


def test_a_determined_system_and_a_tall_one():
    for m in (9, 20):
        A, _, weights = instance(5, m, 9)
        x = jnp.arange(9.0) - 3.0
        np.testing.assert_allclose(fl.lp_solution(A, A @ x, weights, 1.5).X, x, atol=1e-12)


def test_zero_measurements_have_the_solution_zero():
    A, _, weights = instance(6, 5, 9)
    for p in EXPONENTS:
        found = fl.lp_solution(A, jnp.zeros(5), weights, p)
        assert found.converged and not jnp.any(found.X)


def test_the_gap_is_a_bound():
    """Stopped early, the objective is above the optimum by at most the gap that is reported."""
    for p in EXPONENTS:
        A, b, weights = instance(7, 8, 20)
        best = jnp.sum(weights * jnp.abs(fl.lp_solution(A, b, weights, p).X) ** p)
        for k in (1, 3, 5):
            early = fl.lp_solution(A, b, weights, p, max_iterations=k)
            value = jnp.sum(weights * jnp.abs(early.X) ** p)
            assert value - best <= (early.gap + 2e-9) * value
            if k == 1:
                assert early.status_name == "iteration_limit" and early.gap > 1e-3


def test_many_instances_under_vmap_map_and_jit():
    ps = jnp.array([1.0, 1.2, 1.5, 2.0])
    each = [(*instance(seed, 6, 12), p) for seed, p in enumerate(ps)]
    As, bs, ws, _ = (jnp.stack(parts) for parts in zip(*each, strict=True))
    one_by_one = jnp.stack([fl.lp_solution(*arguments).X for arguments in each])
    together = jax.vmap(fl.lp_solution)(As, bs, ws, ps)
    assert together.status_name == ["converged"] * 4
    np.testing.assert_allclose(together.X, one_by_one, atol=1e-7)
    mapped = jax.jit(lambda *all: jax.lax.map(lambda each: fl.lp_solution(*each).X, all))
    np.testing.assert_allclose(mapped(As, bs, ws, ps), one_by_one, atol=1e-7)


# ------------------------------------------------------------------ errors


A0, B0, W0 = instance(8, 4, 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((A0[0], B0, W0, 1.0), "`A` must have 2 axes"),
        ((A0, B0[:3], W0, 1.0), "`b` must have shape"),
        ((A0, B0, W0[:3], 1.0), "`weights` must have shape"),
        ((A0, B0, W0.at[2].set(0.0), 1.0), "`weights` must be positive.*columns of zeros"),
        ((A0, B0, W0, 0.5), "`p` must lie between 1 and 2, but is 0.5"),
        ((A0, B0, W0, 2.5), "`p` must lie between 1 and 2"),
        ((A0.at[0, 0].set(jnp.nan), B0, W0, 1.0), "`A` has NaN"),
        ((jnp.ones((2, 6)), jnp.array([0.0, 1.0]), W0, 1.0), "`b` is inconsistent with `A`"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        fl.lp_solution(*arguments)


def test_inside_a_trace_the_outcome_is_a_status():
    solve = jax.jit(lambda *arguments: fl.lp_solution(*arguments).status)
    clash = jnp.ones((2, 6)), jnp.array([0.0, 1.0]), W0, 1.0
    assert fl.Status(int(solve(*clash))).name == "INCONSISTENT"
    assert fl.Status(int(solve(A0, B0, W0, 3.0))) != fl.Status.CONVERGED
    assert fl.Status(int(solve(A0, B0, -W0, 1.0))) != fl.Status.CONVERGED


def test_it_has_no_derivative():
    with pytest.raises(TypeError, match="no derivative"):
        jax.grad(lambda b: jnp.sum(fl.lp_solution(A0, b, W0, 1.5).X))(B0)


def test_float32_is_refused():
    with pytest.raises(TypeError, match="`A` must be float64"):
        fl.lp_solution(A0.astype(jnp.float32), B0, W0, 1.0)
