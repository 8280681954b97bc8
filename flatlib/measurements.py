r"""Linear measurement maps A : R^{d1 x d2} -> R^m and the rescaling matrices D1, D2.

A measurement map sends a matrix to m inner products, A(X)_i = <A_i, X>. What flatness sees of it
are two matrices (Ding, Drusvyatskiy, Fazel, Harchaoui 2024, Section 3),

    D1 = ((1/(m d2)) sum_i A_i A_i^T)^{1/2},     D2 = ((1/(m d1)) sum_i A_i^T A_i)^{1/2},

because the trace of the Hessian of the loss at a solution is a weighted norm of the factors with
exactly these weights (`flatlib.flatness`). Five maps cover the course: `identity`, `dense`,
`rank_one`, `entries` and `quadratic`. The last three are structured: they never build the dense
m x d1 x d2 array of the A_i.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from flatlib._inputs import as_float64, is_traced, positive_integer, require_float64, require_key


@jax.custom_jvp
def _psd_sqrt(gram):
    """Square root of a symmetric positive semidefinite matrix.

    Automatic differentiation through `eigh` is NaN at repeated eigenvalues, where the square root
    is perfectly smooth. Its derivative is the solution of D' D + D D' = S', for S = D^2; only a
    singular D has none.
    """
    values, vectors = jnp.linalg.eigh(gram)
    return (vectors * jnp.sqrt(jnp.maximum(values, 0.0))) @ vectors.T


@_psd_sqrt.defjvp
def _psd_sqrt_jvp(primals, tangents):
    root = _psd_sqrt(primals[0])
    return root, _lyapunov(root, tangents[0])


def _lyapunov(D, C):
    """The solution Y of D Y + Y D = C, for a symmetric positive definite D."""

    def solve(_, C):
        values, vectors = jnp.linalg.eigh(D)
        return vectors @ ((vectors.T @ C @ vectors) / (values[:, None] + values)) @ vectors.T

    # Derivatives of any order solve the same equation again: they never enter `solve`.
    return jax.lax.custom_linear_solve(lambda Y: D @ Y + Y @ D, C, solve, symmetric=True)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LinearMap:
    """Base of the measurement maps; build one with `identity`, `dense`, `rank_one`, ...

    Attributes
    ----------
    shape : (d1, d2), the shape of the matrices that are measured
    m : number of measurements
    symmetric : whether the problem lives on symmetric matrices (only for `quadratic`)
    """

    symmetric = False

    def __repr__(self):
        return f"{type(self).__name__}(shape={tuple(self.shape)}, m={self.m})"

    def __call__(self, X):
        """Measurements (m,) of a matrix X (d1, d2): A(X)_i = <A_i, X>."""
        return self._apply(as_float64("X", X, shape=self.shape))

    def adjoint(self, y):
        """The matrix (d1, d2) A*(y) = sum_i y_i A_i for y (m,)."""
        return self._adjoint(as_float64("y", y, shape=(self.m,)))

    def rescaling(self):
        """The rescaling matrices D1 (d1, d1) and D2 (d2, d2), symmetric positive semidefinite.

        They are singular exactly when all A_i share a left or right kernel, that is, when some
        direction of X is never observed. Derivatives of every order exist and are right wherever
        D1 and D2 are positive definite, at repeated eigenvalues too; at a singular one they are
        not finite (use `squared_rescaling` where the squares will do).

        Source: Ding et al. (2024), Section 3.
        """
        row_gram, column_gram = self._grams()
        return _psd_sqrt(row_gram), _psd_sqrt(column_gram)

    def squared_rescaling(self):
        """The squares D1^2 (d1, d1) and D2^2 (d2, d2): no square root, always differentiable."""
        return self._grams()

    def subset(self, indices):
        """The map of the measurements with these integer indices, repetitions allowed.

        An index outside 0, ..., m-1 raises IndexError; inside `jit` and `vmap`, where it cannot,
        the nearest valid index is taken instead.
        """
        indices = jnp.atleast_1d(jnp.asarray(indices))
        if indices.ndim != 1 or not jnp.issubdtype(indices.dtype, jnp.integer):
            raise TypeError(
                "`indices` must be a vector of integers, but has shape "
                f"{indices.shape} and dtype {indices.dtype}."
            )
        if not indices.size:
            raise ValueError("`indices` is empty: give at least one.")
        if not is_traced(indices) and not np.isin(np.asarray(indices), np.arange(self.m)).all():
            raise IndexError(f"`indices` must lie in 0, ..., {self.m - 1}.")
        return self._subset(jnp.clip(indices, 0, self.m - 1))

    def _subset(self, indices):
        fields = dataclasses.fields(self)
        arrays = {f.name: getattr(self, f.name)[indices] for f in fields if f.name != "shape"}
        return dataclasses.replace(self, **arrays)


def check_map(op):
    if not isinstance(op, LinearMap):
        raise TypeError(f"`op` must be a measurement map such as fl.dense(A), but is {type(op)}.")


def _register(*, data, meta=()):
    return functools.partial(
        jax.tree_util.register_dataclass, data_fields=list(data), meta_fields=list(meta)
    )


@_register(data=(), meta=("shape",))
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Identity(LinearMap):
    """A_l = sqrt(m) e_a e_b^T over all entries (a, b), so that (1/m)|A(X)|^2 = |X|_F^2."""

    shape: tuple

    @property
    def m(self):
        return self.shape[0] * self.shape[1]

    def _apply(self, X):
        return np.sqrt(self.m) * X.reshape(-1)

    def _adjoint(self, y):
        return np.sqrt(self.m) * y.reshape(self.shape)

    def _grams(self):
        return jnp.eye(self.shape[0]), jnp.eye(self.shape[1])

    def _subset(self, indices):
        raise TypeError(
            "`identity` observes the whole matrix at once and has no subset: for single entries "
            "use `entries(mask)`."
        )


@_register(data=("A",))
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dense(LinearMap):
    """Arbitrary measurement matrices, A (m, d1, d2)."""

    A: jax.Array

    @property
    def m(self):
        return self.A.shape[0]

    @property
    def shape(self):
        return self.A.shape[1:]

    def _apply(self, X):
        return self.A.reshape(self.m, -1) @ X.reshape(-1)

    def _adjoint(self, y):
        return (y @ self.A.reshape(self.m, -1)).reshape(self.shape)

    def _grams(self):
        d1, d2 = self.shape
        columns = jnp.swapaxes(self.A, 1, 2).reshape(-1, d1)  # one large product is fastest
        rows = self.A.reshape(-1, d2)
        return columns.T @ columns / (self.m * d2), rows.T @ rows / (self.m * d1)


@_register(data=("a", "b"))
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RankOne(LinearMap):
    """A_i = a_i b_i^T with a (m, d1) and b (m, d2), stored as the vectors alone."""

    a: jax.Array
    b: jax.Array

    @property
    def m(self):
        return self.a.shape[0]

    @property
    def shape(self):
        return self.a.shape[1], self.b.shape[1]

    def _apply(self, X):
        return jnp.sum((self.a @ X) * self.b, axis=1)

    def _adjoint(self, y):
        return (self.a * y[:, None]).T @ self.b

    def _grams(self):
        d1, d2 = self.shape
        row_weights = jnp.sum(self.b**2, axis=1) / (self.m * d2)
        column_weights = jnp.sum(self.a**2, axis=1) / (self.m * d1)
        return (self.a.T * row_weights) @ self.a, (self.b.T * column_weights) @ self.b


@_register(data=("x",))
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Quadratic(LinearMap):
    """A_i = x_i x_i^T with x (m, d): the problem lives on symmetric d x d matrices."""

    x: jax.Array
    symmetric = True

    @property
    def m(self):
        return self.x.shape[0]

    @property
    def shape(self):
        return self.x.shape[1], self.x.shape[1]

    def _apply(self, X):
        return jnp.sum((self.x @ X) * self.x, axis=1)

    def _adjoint(self, y):
        return (self.x * y[:, None]).T @ self.x

    def _grams(self):
        weights = jnp.sum(self.x**2, axis=1) / (self.m * self.shape[0])
        gram = (self.x.T * weights) @ self.x
        return gram, gram


@_register(data=("rows", "columns"), meta=("shape",))
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Entries(LinearMap):
    """A_i = e_a e_b^T for the observed entries (a, b), in row-major order."""

    rows: jax.Array
    columns: jax.Array
    shape: tuple

    @property
    def m(self):
        return self.rows.shape[0]

    def _apply(self, X):
        return X[self.rows, self.columns]

    def _adjoint(self, y):
        return jnp.zeros(self.shape).at[self.rows, self.columns].set(y)

    def rescaling(self):
        """D1 (d1, d1) and D2 (d2, d2): diagonal, the square roots of the observed marginals."""
        row_gram, column_gram = self._grams()
        return jnp.sqrt(row_gram), jnp.sqrt(column_gram)

    def _grams(self):
        d1, d2 = self.shape
        per_row = jnp.zeros(d1).at[self.rows].add(1.0)
        per_column = jnp.zeros(d2).at[self.columns].add(1.0)
        return jnp.diag(per_row / (self.m * d2)), jnp.diag(per_column / (self.m * d1))


def matrix_shape(shape):
    """The pair (d1, d2) of positive integers, or an error that names `shape`."""
    try:
        d1, d2 = shape
    except (TypeError, ValueError):
        raise ValueError(f"`shape` must be a pair (d1, d2), but is {shape!r}.") from None
    return positive_integer("shape[0]", d1), positive_integer("shape[1]", d2)


def _nonempty(name, array):
    if 0 in array.shape:
        raise ValueError(f"`{name}` must hold at least one number, but has shape {array.shape}.")
    return array


def _normal(caller, key, shape):
    require_float64(caller)
    require_key(key)
    # Compiling the generator for a new shape takes far longer than drawing. The number of draws is
    # rounded up to one of few (at most 1/4 more), so that a sweep over sizes compiles little.
    size = math.prod(shape)
    block = max(4096, 2 ** (size.bit_length() - 3))
    drawn = jax.random.normal(key, (-(-size // block) * block,), jnp.float64)
    if is_traced(drawn):
        return drawn[:size].reshape(shape)
    return jnp.asarray(np.asarray(drawn)[:size].reshape(shape))


def identity(shape):
    """The identity map, scaled so that (1/m)|A(X) - b|^2 = |X - M|_F^2 and D1 = D2 = I.

    Parameters
    ----------
    shape : (d1, d2)

    Returns
    -------
    LinearMap with m = d1 d2 measurements, A_l = sqrt(m) e_a e_b^T in row-major order.

    Source: Ding et al. (2024), Section 2, whose loss |L R^T - M|_F^2 carries no factor 1/m.
    """
    return Identity(matrix_shape(shape))


def dense(A):
    """Measurements <A_i, X> with arbitrary matrices A (m, d1, d2).

    Raises
    ------
    TypeError if A is float32 or complex; ValueError if A is not three-dimensional, is empty, or
    has non-finite entries.
    """
    return Dense(_nonempty("A", as_float64("A", A, ndim=3)))


def rank_one(a, b):
    """Bilinear measurements a_i^T X b_i with a (m, d1) and b (m, d2); no dense tensor is built.

    Raises
    ------
    TypeError for float32 or complex input; ValueError if the numbers of rows of a and b differ.
    """
    a, b = as_float64("a", a, ndim=2), as_float64("b", b, ndim=2)
    if a.shape[0] != b.shape[0]:
        raise ValueError(
            f"`a` and `b` must have one row per measurement, but have {a.shape[0]} and "
            f"{b.shape[0]} rows."
        )
    return RankOne(_nonempty("a", a), _nonempty("b", b))


def quadratic(x):
    """Quadratic measurements x_i^T X x_i of a symmetric X, with x (m, d).

    The problem lives on symmetric matrices: solvers and certificates work there, because the skew
    part of X is never observed.

    Raises
    ------
    TypeError for float32 or complex input; ValueError if x is not two-dimensional or is empty.
    """
    return Quadratic(_nonempty("x", as_float64("x", x, ndim=2)))


def entries(mask):
    """Observed entries X_ab where mask (d1, d2) is True, in row-major order.

    The mask must be a concrete boolean array: the number of measurements is its number of True
    entries, and array shapes cannot depend on traced values.

    Raises
    ------
    TypeError if the mask is not boolean or is traced; ValueError if nothing is observed.
    """
    if is_traced(mask):
        raise TypeError("`mask` must be concrete: build the map outside jit and vmap.")
    mask = np.asarray(mask)
    if mask.dtype != np.bool_:
        raise TypeError(f"`mask` must be boolean, but its dtype is {mask.dtype}.")
    if mask.ndim != 2:
        raise ValueError(f"`mask` must have 2 axes, but has shape {mask.shape}.")
    if not mask.any():
        raise ValueError("`mask` observes no entry: at least one must be True.")
    rows, columns = np.nonzero(mask)
    return Entries(jnp.asarray(rows), jnp.asarray(columns), mask.shape)


def gaussian_sensing(key, m, shape):
    """A `dense` map of m matrices with independent standard normal entries."""
    return dense(_normal("gaussian_sensing", key, (positive_integer("m", m), *matrix_shape(shape))))


def bilinear_sensing(key, m, shape):
    """A `rank_one` map with independent standard normal vectors a_i, b_i."""
    m, (d1, d2) = positive_integer("m", m), matrix_shape(shape)
    key_a, key_b = jax.random.split(require_key(key))
    return rank_one(
        _normal("bilinear_sensing", key_a, (m, d1)), _normal("bilinear_sensing", key_b, (m, d2))
    )


def quadratic_sensing(key, m, d):
    """A `quadratic` map with independent standard normal vectors x_i in R^d."""
    m, d = positive_integer("m", m), positive_integer("d", d)
    return quadratic(_normal("quadratic_sensing", key, (m, d)))


def bernoulli_completion(key, p, shape):
    """An `entries` map that observes each entry independently with probability p.

    Raises
    ------
    ValueError if p is outside [0, 1], or if this draw observes nothing.
    """
    if is_traced(key, p):
        raise TypeError("`key` and `p` must be concrete: draw the mask outside jit and vmap.")
    if np.ndim(p) or np.asarray(p).dtype.kind not in "fiu" or not 0.0 <= p <= 1.0:
        raise ValueError(f"`p` is a probability and must lie in [0, 1], but is {p!r}.")
    return entries(np.asarray(jax.random.bernoulli(require_key(key), 1.0 * p, matrix_shape(shape))))


def low_rank(key, shape, rank):
    """A random d1 x d2 matrix of the given rank with unit Frobenius norm.

    The product of two Gaussian factors, normalised.

    Raises
    ------
    ValueError if the rank exceeds min(d1, d2).
    """
    (d1, d2), rank = matrix_shape(shape), positive_integer("rank", rank)
    if rank > min(d1, d2):
        raise ValueError(f"`rank` is at most min(d1, d2) = {min(d1, d2)}, but is {rank}.")
    key_left, key_right = jax.random.split(require_key(key))
    left, right = (
        _normal("low_rank", key_left, (d1, rank)),
        _normal("low_rank", key_right, (d2, rank)),
    )
    M = left @ right.T
    return M / jnp.linalg.norm(M)


def low_rank_symmetric(key, d, inertia):
    """A random symmetric d x d matrix with the given inertia and unit Frobenius norm.

    Parameters
    ----------
    key : random key
    d : size
    inertia : (r1, r2), the numbers of positive and negative eigenvalues

    Raises
    ------
    ValueError if r1 + r2 exceeds d or is zero.
    """
    d = positive_integer("d", d)
    try:
        r1, r2 = inertia
    except (TypeError, ValueError):
        raise ValueError(f"`inertia` must be a pair (r1, r2), but is {inertia!r}.") from None
    r1, r2 = positive_integer("inertia[0]", r1, 0), positive_integer("inertia[1]", r2, 0)
    if not 0 < r1 + r2 <= d:
        raise ValueError(f"`inertia` must satisfy 0 < r1 + r2 <= d = {d}, but is {(r1, r2)}.")
    U = _normal("low_rank_symmetric", key, (d, r1 + r2))
    M = (U * jnp.concatenate([jnp.ones(r1), -jnp.ones(r2)])) @ U.T
    return M / jnp.linalg.norm(M)
