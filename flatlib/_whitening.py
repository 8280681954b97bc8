"""The measurements in whitened variables, and their linear algebra.

With Y = D1 X D2 the measurements read B(Y) = A(D1^{-1} Y D2^{-1}), again a map of the same kind:
measurement matrices, vectors or weights are multiplied by the inverses of D1 and D2. Solvers and
certificates see B only through its values, its adjoint and its Gram matrix B B*, so that bilinear
and quadratic maps never build the m x d1 x d2 array.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from flatlib._inputs import is_traced
from flatlib.measurements import Dense, Entries, Identity, Quadratic, RankOne

INCONSISTENT = 1e-8  # relative distance from b to the range of A from which b is inconsistent
SINGULAR = 1e-12  # eigenvalues of D^2 and of B B*, relative to the largest, that count as zero
REGULAR = 1e-7  # least squared diagonal entry of a Cholesky factor that is trusted


def reciprocal(values, threshold=0.0):
    """1/values, and 0 where a value is at most the threshold."""
    kept = values > threshold
    return jnp.where(kept, 1.0 / jnp.where(kept, values, 1.0), 0.0)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class _Weights:
    """B(Y) = weights * Y, one measurement for each entry (weight 0: unobserved)."""

    weights: jax.Array

    def _apply(self, Y):
        return (self.weights * Y).reshape(-1)

    def _adjoint(self, y):
        return self.weights * y.reshape(self.weights.shape)


def gram_matrix(B):
    """B B*, as a matrix or, for entries, as its diagonal."""
    match B:
        case _Weights(weights):
            return weights.reshape(-1) ** 2
        case Dense(A):
            rows = A.reshape(A.shape[0], -1)
            return rows @ rows.T
        case RankOne(a, b):
            return jax.lax.map(lambda ab: (a @ ab[0]) * (b @ ab[1]), (a, b), batch_size=512)
        case Quadratic(x):
            return (x @ x.T) ** 2


def _inverse_root(gram):
    """Pseudo-inverse of D = gram^{1/2}, and whether D is singular."""
    values, vectors = jnp.linalg.eigh(gram)
    inverse = reciprocal(values, SINGULAR * values[-1])
    return (vectors * jnp.sqrt(inverse)) @ vectors.T, jnp.any(inverse == 0.0)


def _padded_size(m):
    """m rounded up to one of few sizes (at most 1/4 more), so that few programs are compiled."""
    step = max(8, 2 ** (m.bit_length() - 3))
    return -(-m // step) * step


def _pad(array):
    missing = _padded_size(len(array)) - len(array)
    return jnp.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else array


def _grid(op, b):
    """Mask (d1, d2) of observed entries and their values, in NumPy where the values are known."""
    rows, columns = (op.rows, op.columns)
    if is_traced(op, b):
        zeros = jnp.zeros(op.shape)
        return zeros.at[rows, columns].set(1.0), zeros.at[rows, columns].set(b)
    mask, values = np.zeros(op.shape), np.zeros(op.shape)
    mask[np.asarray(rows), np.asarray(columns)] = 1.0
    values[np.asarray(rows), np.asarray(columns)] = np.asarray(b)
    return jnp.asarray(mask), jnp.asarray(values)


def standard_form(op, b):
    """The map and b with a padded number of measurements; entries as weights on the grid."""
    match op:
        case Identity():
            return _Weights(jnp.full(op.shape, np.sqrt(op.m))), b
        case Entries():
            mask, values = _grid(op, b)
            return _Weights(mask), values.reshape(-1)
        case Dense(A):
            return Dense(_pad(A)), _pad(b)
        case RankOne(left, right):
            return RankOne(_pad(left), _pad(right)), _pad(b)
        case Quadratic(x):
            return Quadratic(_pad(x)), _pad(b)


def whiten(op, m, flat):
    """The map B in standard form, the inverses of D1 and D2, and whether one is singular.

    Without the flag `flat`, D1 = D2 = I. (A flag, not a branch: both weightings share a program.)
    """
    if isinstance(op, _Weights):
        d1, d2 = op.weights.shape
        squares = op.weights**2
        grams = jnp.diag(squares.sum(1) / (m * d2)), jnp.diag(squares.sum(0) / (m * d1))
    else:
        (d1, d2), scale = op.shape, op.m / m
        grams = [scale * gram for gram in op._grams()]
    grams = [jnp.where(flat, gram, jnp.eye(len(gram))) for gram in grams]
    P1, singular1 = _inverse_root(grams[0])
    P2, singular2 = (P1, singular1) if isinstance(op, Quadratic) else _inverse_root(grams[1])
    match op:
        case _Weights(weights):
            B = _Weights(jnp.diag(P1)[:, None] * weights * jnp.diag(P2)[None, :])
        case Dense(A):
            B = Dense(P1 @ A @ P2)
        case RankOne(a, b):
            B = RankOne(a @ P1, b @ P2)
        case Quadratic(x):
            B = Quadratic(x @ P1)
    return B, P1, P2, singular1 | singular2


def whitened(X, P1, P2, singular):
    """D1 X D2 from the inverses of D1 and D2; X itself where one of them is singular."""
    P1, P2 = (jnp.where(singular, jnp.eye(len(P)), P) for P in (P1, P2))
    return jnp.linalg.solve(P1, jnp.linalg.solve(P2, X.T).T)


def _unit_diagonal(gram, shift):
    """gram + shift I scaled to unit diagonal, and the scale; zero measurements get 1 there."""
    scale = reciprocal(jnp.sqrt(jnp.diag(gram) + shift))
    diagonal = jnp.where(scale > 0, shift * scale**2, 1.0)
    return gram * scale[:, None] * scale[None, :] + jnp.diag(diagonal), scale


def _by_cholesky(gram, shift=0.0):
    """Inverse of gram + shift I by Cholesky, and whether it can be trusted."""
    scaled, scale = _unit_diagonal(gram, shift)
    factor = jnp.linalg.cholesky(scaled, symmetrize_input=False)
    regular = jnp.min(jnp.diag(factor)) ** 2 > REGULAR
    # The right-hand side waits for the factor, so that it can take the place of the Gram matrix.
    right_hand_side = jnp.diag(jnp.where(regular, scale, 0.0))
    return jax.scipy.linalg.cho_solve((factor, True), right_hand_side) * scale[:, None], regular


def _by_eigenvectors(gram, shift=0.0):
    """Pseudo-inverse of gram + shift I where that is singular or nearly so."""
    scaled, scale = _unit_diagonal(gram, shift)
    values, vectors = jnp.linalg.eigh(scaled)
    inverse = (vectors * reciprocal(values, SINGULAR * values[-1])) @ vectors.T
    return inverse * scale[:, None] * scale[None, :]


def inverse_gram(B, shift=0.0):
    """Pseudo-inverse H of B B* + shift I, as a matrix or, for entries, as its diagonal.

    Where Cholesky fails the Gram matrix is computed again: kept until then, it would cost memory.
    """
    if isinstance(B, _Weights):
        return reciprocal(gram_matrix(B) + shift)
    inverse, regular = _by_cholesky(gram_matrix(B), shift)
    return jax.lax.cond(regular, lambda: inverse, lambda: _by_eigenvectors(gram_matrix(B), shift))


def pseudo_inverse(gram):
    """Pseudo-inverse of a Gram matrix that is at hand."""
    if gram.ndim == 1:
        return reciprocal(gram)
    inverse, regular = _by_cholesky(gram)
    return jax.lax.cond(regular, lambda: inverse, lambda: _by_eigenvectors(gram))


def independent(B, b):
    """An equivalent system B, b and the pseudo-inverse H of its Gram matrix.

    Where dense measurements are linearly dependent or nearly so, orthonormal combinations of them
    take their place: a Gram matrix knows its small eigenvalues too badly.
    """
    if not isinstance(B, Dense):
        return B, b, inverse_gram(B)
    inverse, regular = _by_cholesky(gram_matrix(B))
    rows = B.A.reshape(B.m, -1)

    def orthonormal():
        scale = reciprocal(jnp.linalg.norm(rows, axis=1))
        left, values, right = jnp.linalg.svd(rows * scale[:, None], full_matrices=False)
        inverse = reciprocal(values, INCONSISTENT * values[0])
        fill = (0, B.m - len(values))
        new_rows = jnp.pad(right * (inverse > 0)[:, None], (fill, (0, 0)))
        return new_rows, jnp.pad(inverse * (left.T @ (b * scale)), fill), jnp.eye(B.m)

    rows, b, H = jax.lax.cond(regular, lambda: (rows, b, inverse), orthonormal)
    return Dense(rows.reshape(B.A.shape)), b, H


def times(H, y):
    """H y, for H stored as a matrix or as its diagonal."""
    return (H * y.T).T if H.ndim == 1 else H @ y
