"""Closed forms, estimators and the top eigenvalue against dense Hessians."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import flatlib as fl
import flatlib.flatness

KEY = jax.random.key(0)
MAPS = {
    "identity": lambda: fl.identity((4, 3)),
    "dense": lambda: fl.gaussian_sensing(KEY, 7, (4, 3)),
    "rank_one": lambda: fl.bilinear_sensing(KEY, 7, (4, 3)),
    "entries": lambda: fl.bernoulli_completion(KEY, 0.6, (4, 3)),
    "quadratic": lambda: fl.quadratic_sensing(KEY, 7, 4),
}


def factors(op, k=2, seed=1):
    left, right = jax.random.split(jax.random.key(seed))
    d1, d2 = op.shape
    return jax.random.normal(left, (d1, k)), jax.random.normal(right, (d2, k))


def dense_hessian(loss, params):
    flat, unravel = ravel_pytree(params)
    return jax.jit(jax.hessian(lambda x: loss(unravel(x))))(flat)


def network(params):
    """A small tanh network with nine data points, on a nested pytree of 41 parameters."""
    x = jnp.linspace(-1.0, 1.0, 9)[:, None]
    hidden = jnp.tanh(x @ params["first"]["weight"] + params["first"]["bias"])
    hidden = jnp.tanh(hidden @ params["second"])
    return jnp.mean((hidden @ params["out"] - jnp.sin(3 * x[:, 0])) ** 2)


@functools.cache
def network_params():
    keys = jax.random.split(jax.random.key(2), 4)
    return {
        "first": {
            "weight": jax.random.normal(keys[0], (1, 5)),
            "bias": jax.random.normal(keys[1], (5,)),
        },
        "second": jax.random.normal(keys[2], (5, 5)),
        "out": jax.random.normal(keys[3], (5,)),
        "unused": jnp.zeros((0, 3)),
    }


def symmetric_matrix(spectrum):
    n = len(spectrum)
    Q = jnp.linalg.qr(jax.random.normal(KEY, (n, n)))[0]
    return (Q * jnp.asarray(spectrum, float)) @ Q.T


def quadratic_loss(H):
    return lambda x: x @ (H @ x) / 2


# ------------------------------------------------------------------ loss and closed forms


@pytest.mark.parametrize("kind", MAPS)
def test_loss_is_the_mean_squared_residual(kind):
    op = MAPS[kind]()
    L, R = factors(op)
    b = jnp.arange(op.m, dtype=float)
    residual = np.asarray(op(L @ R.T) - b)
    loss = fl.factor_loss(op, b)
    assert loss((L, R)) == pytest.approx(np.sum(residual**2) / op.m, rel=1e-14)
    if kind != "identity":
        for batch in (jnp.array([3, 0, 3]), 2, [1, 4]):
            expected = np.mean(residual[np.asarray(batch)] ** 2)
            assert loss((L, R), batch, KEY) == pytest.approx(expected, rel=1e-13)


def test_a_batch_inside_a_trace():
    op = fl.gaussian_sensing(KEY, 5, (4, 3))
    L, R = factors(op)
    loss = fl.factor_loss(op, jnp.arange(5.0))
    known = jnp.array([1, 2])
    assert jax.jit(lambda p: loss(p, known))((L, R)) == pytest.approx(loss((L, R), known))
    # An index outside 0, ..., m-1 cannot raise; measurement and map are clipped to the same one.
    for index, nearest in ((-1, 0), (9, 4)):
        assert jax.jit(loss)((L, R), index) == pytest.approx(loss((L, R), nearest))


def test_bad_arguments_of_the_closed_forms():
    op = fl.gaussian_sensing(KEY, 5, (4, 3))
    loss = fl.factor_loss(op, jnp.zeros(5))
    with pytest.raises(TypeError, match="`op` must be a measurement map"):
        fl.factor_loss(op.A, jnp.zeros(5))
    with pytest.raises(TypeError, match="`op` must be a measurement map"):
        fl.scaled_trace(op.A, *factors(op))
    with pytest.raises(TypeError, match=r"`params` must be the pair of factors"):
        loss(factors(op)[0])
    with pytest.raises(ValueError, match="`indices` is empty"):
        loss(factors(op), jnp.zeros(0, int))


def test_what_is_no_random_key_is_refused():
    def square(x):
        return jnp.sum(x**2)

    for key in (3, None, 0.5):
        with pytest.raises(TypeError, match="`key` must be a random key"):
            fl.gaussian_sensing(key, 3, (2, 2))
        with pytest.raises(TypeError, match="`key` must be a random key"):
            fl.top_eigenvalue(square, jnp.ones(3), key=key)
    with pytest.raises(TypeError, match="`key` must be a random key"):
        fl.hessian_trace(square, jnp.ones(3), "hutchinson", key=3)


@pytest.mark.parametrize("at_solution", [True, False])
@pytest.mark.parametrize("kind", MAPS)
def test_closed_forms_are_the_traces_of_the_hessian_at_every_point(kind, at_solution):
    op = MAPS[kind]()
    d1, d2 = op.shape
    L, R = factors(op)
    b = op(L @ R.T) + (0.0 if at_solution else 3.0)
    loss = fl.factor_loss(op, b)
    assert (loss((L, R)) < 1e-25) == at_solution
    diagonal = jnp.diag(dense_hessian(loss, (L, R)))
    left, right = diagonal[: L.size].sum(), diagonal[L.size :].sum()
    np.testing.assert_allclose(fl.block_traces(op, L, R), (left, right), rtol=1e-12)
    assert fl.scaled_trace(op, L, R) == pytest.approx(float(left / d1 + right / d2), rel=1e-12)
    D1, D2 = op.rescaling()
    scaled = 2 * jnp.sum((D1 @ L) ** 2) + 2 * jnp.sum((D2 @ R) ** 2)
    assert fl.scaled_trace(op, L, R) == pytest.approx(float(scaled), rel=1e-12)


def test_scaled_trace_is_differentiable_where_a_row_is_unobserved():
    op = fl.entries(np.array([[True, True, False], [False, False, False]]))
    L, R = factors(op)
    gradient = jax.grad(lambda L: fl.scaled_trace(op, L, R))(L)
    np.testing.assert_allclose(gradient, 4 * op.squared_rescaling()[0] @ L, atol=1e-14)


def test_closed_forms_work_in_jit_and_vmap():
    op = MAPS["dense"]()
    pairs = [factors(op, seed=seed) for seed in range(3)]
    Ls, Rs = (jnp.stack(parts) for parts in zip(*pairs, strict=True))
    batch = jax.jit(jax.vmap(fl.scaled_trace, (None, 0, 0)))(op, Ls, Rs)
    np.testing.assert_allclose(batch, [fl.scaled_trace(op, *p) for p in pairs], rtol=1e-13)


# ------------------------------------------------------------------ traces of any loss


def test_exact_trace_of_a_network():
    H = dense_hessian(network, network_params())
    assert H.shape == (40, 40)
    trace = fl.hessian_trace(network, network_params())
    assert trace == pytest.approx(float(jnp.trace(H)), rel=1e-12)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 150])
def test_exact_trace_in_chunks(n):
    weights = jnp.arange(1.0, n + 1)
    trace = fl.hessian_trace(lambda x: jnp.sum(weights * x**3) + jnp.sum(x) ** 2, jnp.ones(n))
    assert trace == pytest.approx(3 * n * (n + 1) + 2 * n, rel=1e-13)


def test_exact_trace_of_factors_is_the_closed_form():
    op = MAPS["rank_one"]()
    L, R = factors(op)
    loss = fl.factor_loss(op, jnp.ones(op.m))
    trace = fl.hessian_trace(loss, (L, R))
    assert trace == pytest.approx(float(sum(fl.block_traces(op, L, R))), rel=1e-13)


@functools.cache
def compiled_estimates(method):
    """(H, keys) -> one estimate of tr H for each key, from 32 products, H (100, 100)."""

    def estimate(H, key):
        loss = quadratic_loss(H)
        return fl.hessian_trace(loss, jnp.zeros(100), method, key=key, products=32)

    return jax.jit(lambda H, keys: jax.lax.map(functools.partial(estimate, H), keys))


def estimates(method, H):
    return compiled_estimates(method)(H, jax.random.split(KEY, 1000))


@pytest.mark.parametrize("method", ["hutchinson", "xtrace"])
def test_estimators_are_unbiased(method):
    H = symmetric_matrix(1.0 / jnp.arange(1, 101))
    values = estimates(method, H)
    error = values.std() / jnp.sqrt(1000.0)
    assert 0 < error < 0.01 * jnp.trace(H)
    assert abs(values.mean() - jnp.trace(H)) < 3.5 * error


def test_hutchinson_has_its_variance():
    """The variance of one probe with random signs is 2 sum over i != j of H_ij^2."""
    H = symmetric_matrix(jnp.arange(100.0))
    predicted = 2 * (jnp.sum(H**2) - jnp.sum(jnp.diag(H) ** 2)) / 32
    assert estimates("hutchinson", H).var() == pytest.approx(float(predicted), rel=0.15)


@pytest.mark.parametrize("rank", [1, 5, 15])
def test_xtrace_is_exact_below_half_the_budget(rank):
    H = symmetric_matrix([2.0] * rank + [0.0] * (100 - rank))
    np.testing.assert_allclose(estimates("xtrace", H), 2.0 * rank, rtol=1e-12)


def test_xtrace_beats_hutchinson_on_a_decaying_spectrum():
    H = symmetric_matrix(0.8 ** jnp.arange(100))

    def typical_error(method):
        return jnp.median(jnp.abs(estimates(method, H) / jnp.trace(H) - 1))

    assert typical_error("xtrace") < 0.2 * typical_error("hutchinson")
    assert 0.01 < typical_error("hutchinson") < 0.2


def test_xtrace_with_as_many_products_as_parameters_is_exact():
    loss = quadratic_loss(symmetric_matrix(jnp.arange(1.0, 31.0)))
    value = fl.hessian_trace(loss, jnp.zeros(30), "xtrace", key=KEY, products=30)
    assert value == pytest.approx(465, rel=1e-13)


def test_budget_counts_hessian_vector_products():
    W = jax.random.normal(KEY, (300, 300))

    def operations(method, products):
        f = functools.partial(fl.hessian_trace, lambda x: jnp.sum(jnp.tanh(W @ x)), method=method)
        compiled = (
            jax.jit(lambda x: f(x, key=KEY, products=products)).lower(jnp.ones(300)).compile()
        )
        costs = compiled.cost_analysis()
        return (costs[0] if isinstance(costs, list) else costs)["flops"]

    assert operations("hutchinson", 32) == pytest.approx(2 * operations("hutchinson", 16), rel=0.05)
    assert operations("xtrace", 32) == pytest.approx(operations("hutchinson", 32), rel=0.1)


@pytest.mark.parametrize("method", ["hutchinson", "xtrace"])
def test_estimates_of_a_network_are_unbiased_and_reproducible(method):
    params = network_params()

    @jax.jit
    def f(keys):
        estimate = functools.partial(fl.hessian_trace, network, params, method, products=12)
        return jax.lax.map(lambda key: estimate(key=key), keys)

    values = f(jax.random.split(KEY, 500))
    error = values.std() / jnp.sqrt(500.0)
    exact = jnp.trace(dense_hessian(network, params))
    assert abs(values.mean() - exact) < 3.5 * error
    assert 0 < error < 0.2 * abs(exact)
    assert jnp.array_equal(values, f(jax.random.split(KEY, 500)))


# ------------------------------------------------------------------ the trace as a penalty


@pytest.mark.parametrize("method", ["exact", "hutchinson"])
def test_gradient_of_the_trace_is_its_slope(method):
    flat, unravel = ravel_pytree(network_params())
    direction = jax.random.normal(jax.random.key(3), flat.shape)

    @jax.jit
    def penalty(t):
        return fl.hessian_trace(network, unravel(flat + t * direction), method, key=KEY, products=8)

    slope = (penalty(1e-5) - penalty(-1e-5)) / 2e-5
    assert abs(slope) > 1
    assert jax.jit(jax.grad(penalty))(0.0) == pytest.approx(float(slope), rel=1e-7)
    assert jax.jvp(penalty, (0.0,), (1.0,))[1] == pytest.approx(float(slope), rel=1e-7)


@pytest.mark.parametrize("rank", [2, 40])
def test_gradient_of_xtrace_is_unbiased_whatever_the_rank(rank):
    rows = jax.random.normal(jax.random.key(4), (rank, 40)) / jnp.sqrt(rank)
    point = jax.random.normal(jax.random.key(5), (40,)) / 10

    def loss(x):
        return jnp.sum(jnp.exp(rows @ x))

    exact = jax.grad(lambda x: fl.hessian_trace(loss, x))(point)
    keys = jax.random.split(KEY, 1000)

    def gradient(key):
        return jax.grad(lambda x: fl.hessian_trace(loss, x, "xtrace", key=key, products=20))(point)

    samples = jax.jit(lambda keys: jax.lax.map(gradient, keys))(keys)
    error = jnp.linalg.norm(samples.mean(0) - exact) / jnp.linalg.norm(exact)
    spread = jnp.linalg.norm(samples.std(0)) / jnp.sqrt(1000.0) / jnp.linalg.norm(exact)
    assert error < 2 * spread < 0.1


def test_penalised_descent_lowers_the_trace():
    op = MAPS["dense"]()
    L, R = factors(op)
    b = op(L @ R.T)

    def penalised(params):
        return fl.hessian_trace(fl.factor_loss(op, b), params, "hutchinson", key=KEY, products=4)

    gradient = jax.jit(jax.grad(penalised))((L, R))
    stepped = jax.tree.map(lambda p, g: p - 1e-3 * g, (L, R), gradient)
    assert penalised(stepped) < penalised((L, R))


# ------------------------------------------------------------------ top eigenvalue


@pytest.fixture
def always_lanczos(monkeypatch):
    monkeypatch.setattr(flatlib.flatness, "_DENSE", 64)


def top(loss, params, **options):
    return float(fl.top_eigenvalue(loss, params, key=KEY, **options))


def test_top_eigenvalue_of_a_network():
    H = dense_hessian(network, network_params())
    assert top(network, network_params()) == pytest.approx(float(jnp.linalg.eigvalsh(H)[-1]))


@pytest.mark.parametrize(
    "spectrum",
    [
        [3.0],
        [-3.0],
        [-1.0, -5.0],
        [-100.0, 1.0, 2.0],
        [0.0] * 10,
        [2.0] * 100,
        [-2.0] * 100,
        [0.0] * 100,
        [1.0] * 60 + [4.0] * 40,
        [-50.0] + [0.0] * 99,
        list(range(-90, 10)),
        list(0.9 ** np.arange(100)),
        list(-(0.9 ** np.arange(100))),
        [1e-9] * 99 + [1.0],
        [1e8, 1.0] + [0.0] * 98,
    ],
    ids=lambda spectrum: f"{spectrum[0]:g}..{spectrum[-1]:g},n={len(spectrum)}",
)
def test_top_eigenvalue_is_the_largest_with_its_sign(always_lanczos, spectrum):
    value = compiled_top(len(spectrum))(symmetric_matrix(spectrum))
    assert value == pytest.approx(max(spectrum), abs=1e-8 * max(np.abs(spectrum)))


@functools.cache
def compiled_top(n):
    return jax.jit(lambda H: fl.top_eigenvalue(quadratic_loss(H), jnp.ones(n), key=KEY))


@pytest.mark.parametrize("n", [64, 65])
def test_top_eigenvalue_around_the_switch_to_lanczos(always_lanczos, n):
    H = symmetric_matrix(jnp.linspace(-1, 1, n))
    assert top(quadratic_loss(H), jnp.zeros(n)) == pytest.approx(1.0, abs=1e-8)


def test_top_eigenvalue_of_factors_at_the_balanced_solution():
    """For A = I it is 2(|L|_op^2 + |R|_op^2) at a solution."""
    op = fl.identity((30, 20))
    L, R = factors(op, k=6)
    loss = fl.factor_loss(op, op(L @ R.T))
    expected = 2 * (jnp.linalg.norm(L, 2) ** 2 + jnp.linalg.norm(R, 2) ** 2)
    assert L.size + R.size > 256
    assert top(loss, (L, R)) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("size", [5, 100])
def test_top_eigenvalue_has_its_derivative(always_lanczos, size):
    weights = jnp.linspace(0.5, 1.5, size)
    rows = jax.random.normal(jax.random.key(6), (4, size))

    def loss(x):
        return jnp.sum(weights * x**4) + jnp.sum(jnp.exp(rows @ x / 5))

    point = jax.random.normal(jax.random.key(7), (size,))
    direction = jnp.cos(jnp.arange(size))

    @jax.jit
    def value(t):
        return fl.top_eigenvalue(loss, point + t * direction, key=KEY)

    slope = (value(1e-4) - value(-1e-4)) / 2e-4
    assert jax.jit(jax.grad(value))(0.0) == pytest.approx(float(slope), rel=1e-5)


def test_unconverged_lanczos_raises_outside_a_trace_and_is_nan_inside():
    def loss(x):  # a path graph: the gap at the top is 1e-5
        return jnp.sum((x[1:] - x[:-1]) ** 2)

    with pytest.raises(RuntimeError, match="Lanczos has not reached the residual 1e-08 in 1 "):
        top(loss, jnp.ones(1000), restarts=1)
    inside = jax.jit(lambda x: fl.top_eigenvalue(loss, x, key=KEY, restarts=1))(jnp.ones(1000))
    assert jnp.isnan(inside)


@pytest.mark.parametrize("n", [10, 300])
def test_nan_hessian_raises(n):
    with pytest.raises(RuntimeError, match="look for NaN in the Hessian"):
        top(lambda x: jnp.sum(jnp.sqrt(x)), jnp.zeros(n))


# ------------------------------------------------------------------ errors

op = MAPS["dense"]()
L, R = factors(op)
loss = fl.factor_loss(op, jnp.zeros(7))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fl.factor_loss(op, jnp.zeros(6)), ValueError, r"`b` must have shape \(7,\)"),
        (lambda: fl.factor_loss(op, jnp.full(7, jnp.nan)), ValueError, "`b` has NaN"),
        (lambda: loss((R, L)), ValueError, r"`L` and `R` must have shapes \(4, k\) and \(3, k\)"),
        (lambda: loss((L, R[:, :1])), ValueError, "one k, but have"),
        (lambda: loss((L[:, 0], R)), ValueError, "`L` must have 2 axes"),
        (lambda: loss((L, R), jnp.array([7])), IndexError, "`indices` must lie in"),
        (lambda: fl.scaled_trace(op, L.astype(jnp.float32), R), TypeError, "`L` must be float64"),
        (lambda: fl.block_traces(op, L, R.at[0].set(jnp.inf)), ValueError, "`R` has NaN or inf"),
        (lambda: fl.hessian_trace(loss, (L, R), "diagonal"), ValueError, "`method` must be"),
        (lambda: fl.hessian_trace(loss, (L, R), "xtrace"), ValueError, "`key` is needed"),
        (lambda: fl.hessian_trace(loss, (L, R), "hutchinson"), ValueError, "`key` is needed"),
        (
            lambda: fl.hessian_trace(loss, (L, R), "hutchinson", key=KEY, products=0),
            ValueError,
            "`products` must be an integer of at least 1",
        ),
        (
            lambda: fl.hessian_trace(loss, (L, R), "xtrace", key=KEY, products=1),
            ValueError,
            "`products` must be an integer of at least 2",
        ),
        (lambda: fl.hessian_trace(lambda x: x, jnp.ones(3)), ValueError, "`loss` must return a"),
        (lambda: fl.hessian_trace(lambda x: (x.sum(), x), jnp.ones(3)), ValueError, "`loss` must"),
        (
            lambda: fl.hessian_trace(jnp.sum, jnp.ones(3, jnp.float32)),
            TypeError,
            "`params` must be float64",
        ),
        (lambda: top(lambda x: x, jnp.ones(3)), ValueError, "`loss` must return a scalar"),
        (lambda: top(jnp.sum, jnp.ones(3), restarts=0), ValueError, "`restarts` must be"),
    ],
)
def test_bad_input_names_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_float32_mode_is_refused_with_the_remedy(single_precision):
    with pytest.raises(TypeError, match=r"`params` needs float64.*jax_enable_x64"):
        fl.hessian_trace(lambda x: jnp.sum(x**2), jnp.ones(3))
