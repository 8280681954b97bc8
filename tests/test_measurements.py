"""The measurement maps against their definition, on dense measurement matrices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flatlib as fl
from flatlib.measurements import _psd_sqrt

KINDS = ["identity", "dense", "rank_one", "entries", "quadratic"]


@functools.cache
def build(kind, seed=0, d1=4, d2=3, m=9):
    """A map of the given kind and its measurement matrices (m, d1, d2), by definition."""
    rng = np.random.default_rng(seed)
    if kind == "identity":
        A = np.sqrt(d1 * d2) * np.eye(d1 * d2).reshape(-1, d1, d2)
        return fl.identity((d1, d2)), A
    if kind == "dense":
        A = rng.standard_normal((m, d1, d2))
        return fl.dense(A), A
    if kind == "rank_one":
        a, b = rng.standard_normal((m, d1)), rng.standard_normal((m, d2))
        return fl.rank_one(a, b), np.einsum("ia,ib->iab", a, b)
    if kind == "quadratic":
        x = rng.standard_normal((m, d1))
        return fl.quadratic(x), np.einsum("ia,ib->iab", x, x)
    mask = rng.random((d1, d2)) < 0.6
    mask[0, 0] = True
    A = [np.outer(np.eye(d1)[i], np.eye(d2)[j]) for i, j in zip(*np.nonzero(mask), strict=True)]
    return fl.entries(mask), np.array(A)


def square_root(S):
    values, vectors = np.linalg.eigh(S)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


# ------------------------------------------------------------------ maps against definitions


@pytest.mark.parametrize("kind", KINDS)
def test_map_adjoint_and_rescaling_are_those_of_the_measurement_matrices(kind):
    op, A = build(kind)
    m, d1, d2 = A.shape
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((d1, d2)), rng.standard_normal(m)
    assert (op.m, op.shape, op.symmetric) == (m, (d1, d2), kind == "quadratic")
    np.testing.assert_allclose(op(X), np.einsum("iab,ab->i", A, X), rtol=0, atol=1e-13)
    np.testing.assert_allclose(op.adjoint(y), np.einsum("iab,i->ab", A, y), rtol=0, atol=1e-13)
    D1, D2 = op.rescaling()
    S1, S2 = np.einsum("iab,icb->ac", A, A) / (m * d2), np.einsum("iab,iac->bc", A, A) / (m * d1)
    np.testing.assert_allclose(D1, square_root(S1), rtol=0, atol=1e-13)
    np.testing.assert_allclose(D2, square_root(S2), rtol=0, atol=1e-13)
    for D_squared, S in zip(op.squared_rescaling(), (S1, S2), strict=True):
        np.testing.assert_allclose(D_squared, S, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    size=st.sampled_from([(1, 1, 1), (1, 5, 2), (6, 2, 4), (3, 3, 11)]),
)
def test_adjoint_satisfies_its_identity(kind, seed, size):
    d1, d2, m = size
    op, _ = build.__wrapped__(kind, seed, d1, d2, m)
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal(op.shape), rng.standard_normal(op.m)
    left, right = jnp.vdot(op(X), y), jnp.vdot(X, op.adjoint(y))
    scale = np.linalg.norm(op(X)) * np.linalg.norm(y)
    assert abs(left - right) <= 1e-14 * max(1.0, scale)


@pytest.mark.parametrize("kind", KINDS)
def test_scaled_squares_have_one_trace(kind):
    op, _ = build(kind)
    S1, S2 = op.squared_rescaling()
    d1, d2 = op.shape
    assert jnp.trace(S1) / d1 == pytest.approx(float(jnp.trace(S2) / d2), rel=1e-14)


def test_identity_rescales_by_the_identity_and_keeps_the_norm():
    op, _ = build("identity")
    D1, D2 = op.rescaling()
    assert jnp.array_equal(D1, jnp.eye(4)) and jnp.array_equal(D2, jnp.eye(3))
    X = jnp.arange(12.0).reshape(4, 3)
    assert jnp.mean(op(X) ** 2) == pytest.approx(float(jnp.sum(X**2)), rel=1e-14)


def test_completion_rescaling_is_the_marginals():
    mask = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 1]], bool)
    D1, D2 = fl.entries(mask).rescaling()
    np.testing.assert_allclose(D1, np.diag(np.sqrt([3 / 15, 0, 2 / 15])), atol=1e-16)
    np.testing.assert_allclose(D2, np.diag(np.sqrt([2 / 15, 1 / 15, 2 / 15])), atol=1e-16)


@pytest.mark.parametrize("kind", ["dense", "rank_one", "entries", "quadratic"])
def test_structured_maps_hold_no_dense_array(kind):
    op, A = build(kind, 0, 30, 20, 50)
    stored = sum(leaf.size for leaf in jax.tree.leaves(op))
    assert stored <= (A.size if kind == "dense" else 50 * 50 + 2 * op.m)


# ------------------------------------------------------------------ subsets


@pytest.mark.parametrize("kind", ["dense", "rank_one", "entries", "quadratic"])
def test_subset_measures_the_chosen_ones(kind):
    op, A = build(kind)
    X = np.random.default_rng(2).standard_normal(op.shape)
    chosen = np.array([2, 0, 2])
    np.testing.assert_allclose(op.subset(chosen)(X), op(X)[chosen], rtol=1e-14, atol=1e-15)
    assert op.subset([1]).m == op.subset(1).m == 1
    under_jit = jax.jit(lambda op, i: op.subset(i)(X))(op, chosen)
    np.testing.assert_allclose(under_jit, op(X)[chosen], rtol=1e-14, atol=1e-14)
    D1, _ = op.subset(chosen).rescaling()
    squared = np.einsum("iab,icb->ac", A[chosen], A[chosen]) / (3 * op.shape[1])
    np.testing.assert_allclose(D1 @ D1, squared, atol=1e-13)


@pytest.mark.parametrize("indices", [[9], [-1], jnp.array([0, 100])])
def test_subset_out_of_range(indices):
    with pytest.raises(IndexError, match=r"`indices` must lie in 0, \.\.\., 8"):
        build("dense")[0].subset(indices)


@pytest.mark.parametrize("indices", [[0.0], np.ones((2, 2), int), [True]])
def test_subset_needs_a_vector_of_integers(indices):
    with pytest.raises(TypeError, match="`indices` must be a vector of integers"):
        build("dense")[0].subset(indices)


def test_identity_has_no_subset():
    with pytest.raises(TypeError, match="no subset"):
        fl.identity((2, 3)).subset([0])


# ------------------------------------------------------------------ transformations


@pytest.mark.parametrize("kind", KINDS)
def test_maps_jit_vmap_and_differentiate(kind):
    op, _ = build(kind)
    Xs = jnp.asarray(np.random.default_rng(3).standard_normal((5, *op.shape)))
    expected = jnp.stack([op(X) for X in Xs])
    batched = jax.jit(lambda op, Xs: jax.vmap(op)(Xs))(op, Xs)
    np.testing.assert_allclose(batched, expected, rtol=1e-13, atol=1e-13)
    gradient = jax.grad(lambda X: jnp.sum(op(X) ** 2))(Xs[0])
    np.testing.assert_allclose(gradient, 2 * op.adjoint(op(Xs[0])), rtol=1e-12, atol=1e-12)
    for outside, inside in zip(op.rescaling(), jax.jit(lambda o: o.rescaling())(op), strict=True):
        np.testing.assert_allclose(outside, inside, atol=1e-13)


@pytest.mark.parametrize(
    "sample",
    [
        lambda key: fl.gaussian_sensing(key, 6, (4, 3)),
        lambda key: fl.bilinear_sensing(key, 6, (4, 3)),
        lambda key: fl.quadratic_sensing(key, 6, 4),
        lambda key: fl.low_rank(key, (4, 3), 2),
        lambda key: fl.low_rank_symmetric(key, 4, (1, 2)),
    ],
)
def test_samplers_vmap_over_keys(sample):
    keys = jax.random.split(jax.random.key(0), 3)
    batch = jax.jit(jax.vmap(sample))(keys)
    for i in range(3):
        for one, many in zip(jax.tree.leaves(sample(keys[i])), jax.tree.leaves(batch), strict=True):
            np.testing.assert_allclose(many[i], one, rtol=1e-14, atol=1e-14)


def test_maps_are_immutable_and_print_shortly():
    op, _ = build("dense")
    with pytest.raises(AttributeError):
        op.A = None
    assert repr(op) == "Dense(shape=(4, 3), m=9)"
    assert repr(fl.identity((2, 3))) == "Identity(shape=(2, 3), m=6)"


# ------------------------------------------------------------------ derivatives of the rescaling


def symmetric(seed, d):
    B = jax.random.normal(jax.random.key(seed), (d, d))
    return B + B.T


@pytest.mark.parametrize("spectrum", [[2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], [1, 2, 3, 4.0]])
def test_square_root_is_differentiable_at_repeated_eigenvalues(spectrum):
    Q = jnp.linalg.qr(symmetric(0, 4))[0]
    S = (Q * jnp.asarray(spectrum)) @ Q.T
    E, F, W = symmetric(1, 4), symmetric(2, 4), symmetric(3, 4)

    def f(t):
        return jnp.vdot(W, _psd_sqrt(S + t[0] * E + t[1] * F))

    zero, steps = jnp.zeros(2), 1e-4 * jnp.eye(2)

    @jax.jit
    def derivatives(t):
        gradient = jax.grad(f)
        slope = jnp.stack([(f(h) - f(-h)) / 2e-4 for h in steps])
        curvature = jnp.stack([(gradient(h) - gradient(-h)) / 2e-4 for h in steps])
        third = jax.jacfwd(jax.hessian(f))(t)
        return slope, curvature, gradient(t), jax.jacfwd(f)(t), jax.hessian(f)(t), third

    slope, curvature, reverse, forward, hessian, third = derivatives(zero)
    np.testing.assert_allclose(reverse, slope, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(forward, slope, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(hessian, curvature, rtol=1e-5, atol=1e-5)
    assert jnp.all(jnp.isfinite(third))


def test_square_root_derivative_solves_its_equation():
    S = jnp.eye(5) + 0.1 * symmetric(0, 5) @ symmetric(0, 5)
    E = symmetric(1, 5)
    D, dD = jax.jvp(_psd_sqrt, (S,), (E,))
    np.testing.assert_allclose(D @ D, S, atol=1e-13)
    np.testing.assert_allclose(dD @ D + D @ dD, E, atol=1e-13)


def test_rescaling_is_differentiable_in_the_measurements_where_all_eigenvalues_agree():
    A = jnp.sqrt(12.0) * jnp.eye(12).reshape(12, 4, 3)  # D1 = I and D2 = I
    E = jax.random.normal(jax.random.key(0), A.shape)
    W = symmetric(1, 4)

    def f(t):
        return jnp.vdot(W, fl.dense(A + t * E).rescaling()[0])

    h = 1e-5
    assert jax.grad(f)(0.0) == pytest.approx(float((f(h) - f(-h)) / (2 * h)), rel=1e-7)


# ------------------------------------------------------------------ samplers


def test_samplers_are_reproducible_and_depend_on_the_key():
    key, other = jax.random.split(jax.random.key(5))
    for sample in (
        lambda key: fl.gaussian_sensing(key, 5, (4, 3)).A,
        lambda key: fl.bilinear_sensing(key, 5, (4, 3)).b,
        lambda key: fl.quadratic_sensing(key, 5, 4).x,
        lambda key: fl.bernoulli_completion(key, 0.5, (20, 20)).adjoint,
        lambda key: fl.low_rank(key, (4, 3), 2),
    ):
        one, again, different = sample(key), sample(key), sample(other)
        if callable(one):
            assert one.__self__.m == again.__self__.m
            assert jnp.array_equal(one.__self__.rows, again.__self__.rows)
            assert not jnp.array_equal(one.__self__.rows, different.__self__.rows)
        else:
            assert jnp.array_equal(one, again) and not jnp.array_equal(one, different)


def test_bilinear_vectors_are_independent():
    op = fl.bilinear_sensing(jax.random.key(0), 2000, (3, 3))
    assert float(jnp.max(jnp.abs(op.a.T @ op.b / 2000))) < 0.1


def test_gaussian_entries_are_standard_normal():
    A = fl.gaussian_sensing(jax.random.key(1), 500, (8, 5)).A
    assert abs(float(A.mean())) < 0.03 and abs(float(A.std()) - 1) < 0.03


def test_bernoulli_completion_observes_the_share_p():
    op = fl.bernoulli_completion(jax.random.key(0), 0.3, (100, 100))
    assert abs(op.m / 1e4 - 0.3) < 0.02
    assert fl.bernoulli_completion(jax.random.key(0), 1.0, (3, 4)).m == 12


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_low_rank_has_its_rank_and_unit_norm(rank):
    values = jnp.linalg.svd(fl.low_rank(jax.random.key(0), (5, 3), rank), compute_uv=False)
    assert int(jnp.sum(values > 1e-12)) == rank
    assert jnp.linalg.norm(values) == pytest.approx(1, rel=1e-14)


def test_low_rank_factors_are_independent():
    M = fl.low_rank(jax.random.key(0), (5, 5), 2)
    assert jnp.linalg.norm(M - M.T) > 0.5


@pytest.mark.parametrize("inertia", [(2, 1), (0, 3), (1, 0), (2, 2)])
def test_low_rank_symmetric_has_its_inertia_and_unit_norm(inertia):
    M = fl.low_rank_symmetric(jax.random.key(0), 4, inertia)
    values = jnp.linalg.eigvalsh(M)
    assert jnp.array_equal(M, M.T)
    assert (int(jnp.sum(values > 1e-10)), int(jnp.sum(values < -1e-10))) == inertia
    assert jnp.linalg.norm(M) == pytest.approx(1, rel=1e-14)


# ------------------------------------------------------------------ errors


A, a, x = np.ones((2, 4, 3)), np.ones((2, 4)), np.ones((2, 4))
mask = np.ones((4, 3), bool)
key = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fl.dense(A)(np.ones((3, 4))), ValueError, r"`X` must have shape \(4, 3\)"),
        (lambda: fl.dense(A).adjoint(np.ones(3)), ValueError, r"`y` must have shape \(2,\)"),
        (lambda: fl.dense(A[0]), ValueError, "`A` must have 3 axes"),
        (lambda: fl.dense(A[:0]), ValueError, "`A` must hold at least one number"),
        (lambda: fl.dense(A * np.nan), ValueError, "`A` has NaN or infinite"),
        (lambda: fl.dense(A.astype(np.float32)), TypeError, "`A` must be float64.*jax_enable_x64"),
        (lambda: fl.dense(A * 1j), TypeError, "`A` must be real"),
        (lambda: fl.dense("measurements"), TypeError, "`A` must be an array of numbers"),
        (lambda: fl.dense(None), TypeError, "`A` must be an array of numbers"),
        (lambda: fl.dense(A)(np.full((4, 3), np.inf)), ValueError, "`X` has NaN or infinite"),
        (lambda: fl.rank_one(a, np.ones((3, 3))), ValueError, "2 and 3 rows"),
        (lambda: fl.rank_one(a, np.ones(3)), ValueError, "`b` must have 2 axes"),
        (lambda: fl.rank_one(a[:0], a[:0]), ValueError, "`a` must hold at least one"),
        (lambda: fl.quadratic(x[0]), ValueError, "`x` must have 2 axes"),
        (lambda: fl.quadratic(x[:0]), ValueError, "`x` must hold at least one"),
        (lambda: fl.quadratic(x.astype(np.float16)), TypeError, "`x` must be float64"),
        (lambda: fl.entries(mask.astype(float)), TypeError, "`mask` must be boolean"),
        (lambda: fl.entries(mask[0]), ValueError, "`mask` must have 2 axes"),
        (lambda: fl.entries(~mask), ValueError, "`mask` observes no entry"),
        (lambda: jax.jit(fl.entries)(mask), TypeError, "`mask` must be concrete"),
        (lambda: fl.identity(3), ValueError, "`shape` must be a pair"),
        (lambda: fl.identity((3, 0)), ValueError, r"`shape\[1\]` must be an integer of at least 1"),
        (lambda: fl.gaussian_sensing(key, 0, (4, 3)), ValueError, "`m` must be an integer"),
        (lambda: fl.gaussian_sensing(key, 2.5, (4, 3)), ValueError, "`m` must be an integer"),
        (lambda: fl.gaussian_sensing(key, True, (4, 3)), ValueError, "`m` must be an integer"),
        (lambda: fl.gaussian_sensing(key, "10", (4, 3)), ValueError, "`m` must be an integer"),
        (lambda: fl.bilinear_sensing(key, None, (4, 3)), ValueError, "`m` must be an integer"),
        (lambda: fl.quadratic_sensing(key, 5, -1), ValueError, "`d` must be an integer"),
        (lambda: fl.low_rank(key, (4, 3), 4), ValueError, r"`rank` is at most min\(d1, d2\) = 3"),
        (lambda: fl.low_rank_symmetric(key, 4, (3, 2)), ValueError, "r1 [+] r2 <= d = 4"),
        (lambda: fl.low_rank_symmetric(key, 4, (0, 0)), ValueError, "0 < r1 [+] r2"),
        (lambda: fl.low_rank_symmetric(key, 4, 2), ValueError, "`inertia` must be a pair"),
        (lambda: fl.low_rank_symmetric(key, 4, (-1, 2)), ValueError, r"`inertia\[0\]`"),
        (lambda: fl.bernoulli_completion(key, 1.1, (4, 3)), ValueError, r"`p`.*\[0, 1\]"),
        (lambda: fl.bernoulli_completion(key, -0.1, (4, 3)), ValueError, r"`p`.*\[0, 1\]"),
        (lambda: fl.bernoulli_completion(key, np.nan, (4, 3)), ValueError, r"`p`.*\[0, 1\]"),
        (lambda: fl.bernoulli_completion(key, 0.0, (4, 3)), ValueError, "observes no entry"),
        (
            lambda: jax.jit(lambda key: fl.bernoulli_completion(key, 0.5, (4, 3)))(key),
            TypeError,
            "must be concrete",
        ),
        (
            lambda: jax.jit(lambda m: fl.gaussian_sensing(key, m, (4, 3)).A)(5),
            TypeError,
            "`m` sets a shape and must be concrete",
        ),
    ],
)
def test_bad_input_names_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_integers_are_converted():
    X = np.arange(12).reshape(4, 3)
    assert fl.dense(A.astype(int))(X).dtype == jnp.float64
    assert fl.gaussian_sensing(key, np.int64(5), (np.int32(4), 3)).m == 5


def test_values_cannot_raise_inside_a_trace():
    assert jnp.all(jnp.isnan(jax.jit(fl.dense(A))(np.full((4, 3), np.nan))))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("low_rank", lambda: fl.low_rank(key, (4, 3), 1)),
        ("low_rank_symmetric", lambda: fl.low_rank_symmetric(key, 4, (1, 1))),
        ("gaussian_sensing", lambda: fl.gaussian_sensing(key, 5, (4, 3))),
        ("bilinear_sensing", lambda: fl.bilinear_sensing(key, 5, (4, 3))),
        ("quadratic_sensing", lambda: fl.quadratic_sensing(key, 5, 4)),
        ("A", lambda: fl.dense(A)),
        ("X", lambda: fl.entries(mask)(np.ones((4, 3)))),
    ],
)
def test_float32_mode_is_refused_with_the_remedy(single_precision, name, call):
    message = f"`{name}` needs float64, and JAX is in float32 mode: turn on double precision"
    with pytest.raises(TypeError, match=message):
        call()


def test_a_probability_may_be_an_integer_and_must_be_one_number():
    key = jax.random.key(0)
    assert fl.bernoulli_completion(key, 1, (3, 2)).m == 6
    for p in ("half", np.array([0.1, 0.2]), True):
        with pytest.raises(ValueError, match="`p` is a probability"):
            fl.bernoulli_completion(key, p, (3, 2))
