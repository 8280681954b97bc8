r"""Certificates of recovery: is M the unique minimiser of the flat (or nuclear-norm) program?

Let B(Y) = A(D1^{-1} Y D2^{-1}), Y0 = D1 M D2 = U S V^T, and T the tangent space of the matrices of
rank r at Y0. With

    rho = min { |P_{T_perp} B* lam|_op : P_T B* lam = U V^T },

M is the unique minimiser if B is injective on T and rho < 1 (the optimality condition behind
Theorem 4.10 of Ding, Drusvyatskiy, Fazel, Harchaoui 2024), and M is not a minimiser if rho > 1.

Method. The feasible B* lam form an affine set; minimising the spectral norm over it is done by the
same accelerated splitting as in `flatlib.convex`. Every feasible lam bounds rho above. Every Z in
T_perp orthogonal to the directions of that set bounds it below, by <Z, B* lam>/|Z|_*, the same
number for all feasible lam. So "yes" and "no" rest on bounds, and what lies between is
"undecided".
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from flatlib._inputs import as_float64, is_traced, no_derivative, positive_integer
from flatlib._whitening import (
    gram_matrix,
    pseudo_inverse,
    reciprocal,
    standard_form,
    times,
    whiten,
    whitened,
)
from flatlib.convex import (
    RELAXATION,
    TINY,
    accelerated,
    check_weighting,
    unobserved_message,
)
from flatlib.measurements import check_map

MARGIN = 1e-9  # a bound on rho decides only if it differs from 1 by more than rounding
SINGULAR = 1e-10  # eigenvalues of P_T B* (B B*)^+ B P_T, which lie in [0, 1], that count as zero
STEP = 0.5  # step length relative to |S0|_F
CLEAR = 1e-6  # of F^T F, relative: above it the measurements are injective on T beyond doubt
RANK_TOLERANCE = 1e-8  # singular values of M, relative to the largest, that count as zero
ASYMMETRY = 1e-12  # entries of M - M^T, relative to the largest of M, that count as zero
FIRST_RUN = 20  # iterations before the bounds are looked at; the runs double from there
ANSWERS = ("undecided", "yes", "no")


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["rho", "rho_lower", "injective", "code"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Certificate:
    """Whether a program recovers M, with its reasons.

    Attributes
    ----------
    rho : upper bound on rho, from a feasible dual point (infinite if there is none)
    rho_lower : lower bound on rho, from a direction in the kernel of the measurements
    injective : whether the measurements are injective on the tangent space
    code : 0 undecided, 1 yes, 2 no; an array inside a trace
    """

    rho: jax.Array
    rho_lower: jax.Array
    injective: jax.Array
    code: jax.Array

    @property
    def recovers(self):
        """The answer "yes" (M is certified to be the unique minimiser), "no" (certified not to be
        a minimiser) or "undecided"; a list for a batch. Not available inside a trace.
        """
        return jax.tree.map(lambda code: ANSWERS[code], np.asarray(self.code).tolist())


def _spectral_norm(X):
    return jnp.max(jnp.linalg.svd(X, compute_uv=False))


def _spectral_prox(X, gamma):
    """argmin_Z gamma |Z|_op + |Z - X|_F^2 / 2: clips the singular values, gamma in total."""
    if X.shape[0] < X.shape[1]:
        return _spectral_prox(X.T, gamma).T
    squares, vectors = jnp.linalg.eigh(X.T @ X)
    singular = jnp.sqrt(jnp.maximum(squares, 0.0))
    excess = (jnp.cumsum(singular[::-1]) - gamma) / jnp.arange(1, len(singular) + 1)
    level = jnp.maximum(jnp.max(excess), 0.0)
    factor = jnp.minimum(1.0, level / jnp.maximum(singular, TINY))
    return X @ ((vectors * factor) @ vectors.T)


def _tangent_basis(left, right, rank, symmetric):
    """Orthonormal basis (q, d1, d2) of T, from the full singular vectors of Y0."""
    pairs = np.indices((left.shape[0], right.shape[0])).reshape(2, -1).T
    i, j = pairs[(pairs.min(axis=1) < rank) & ((pairs[:, 0] <= pairs[:, 1]) | (not symmetric))].T
    basis = jnp.einsum("at,bt->tab", left[:, i], right[:, j])
    if not symmetric:
        return basis
    scale = np.where(i == j, 0.5, np.sqrt(0.5))
    return scale[:, None, None] * (basis + jnp.swapaxes(basis, 1, 2))


@functools.partial(jax.jit, static_argnames=("rank", "symmetric", "quick"))
def certify(op, M, m, flat, accuracy, max_iterations, *, rank, symmetric, quick=False):
    """The certificate, and whether D1 or D2 is singular; op in standard form.

    With `quick` only the answer counts, and the bounds on rho may be cruder than they could be.
    """
    op, M = no_derivative((op, M))
    B, P1, P2, singular = whiten(op, m, flat)
    Y0 = whitened(M, P1, P2, singular)
    if symmetric:
        values, left = jnp.linalg.eigh(0.5 * (Y0 + Y0.T))
        order = jnp.argsort(-jnp.abs(values))
        left = right = left[:, order]
        signs = jnp.sign(values[order][:rank])
    else:
        left, _, right = jnp.linalg.svd(Y0)
        right, signs = right.T, jnp.ones(rank)
    polar = (left[:, :rank] * signs) @ right[:, :rank].T
    # Inside a trace only: no answer for an M that is not finite, symmetric or of the given rank.
    values = jnp.append(jnp.linalg.svd(M, compute_uv=False), 0.0)
    cut = RANK_TOLERANCE * values[0]
    sound = (values[rank - 1] > cut) & (values[rank] <= cut)
    if symmetric:
        sound &= jnp.max(jnp.abs(M - M.T)) <= ASYMMETRY * jnp.max(jnp.abs(M))
    basis = _tangent_basis(left, right, rank, symmetric)
    left, right = left[:, rank:], right[:, rank:]  # of T_perp

    F = jax.vmap(B._apply)(basis).T  # feasible lam: F^T lam = e in coordinates of T
    e = jnp.einsum("tab,ab->t", basis, polar)

    def adjoint(lam):
        return left.T @ B._adjoint(lam) @ right

    def best():
        """The certificate from the best lam that can be found."""
        # lam0 = H F C^+ e has the least |B* lam| of all feasible lam.
        H = pseudo_inverse(gram_matrix(B))
        HF = times(H, F)
        values, vectors = jnp.linalg.eigh(F.T @ HF)
        kept = values > SINGULAR
        core = (vectors * reciprocal(values, SINGULAR)) @ vectors.T
        injective = jnp.all(kept)
        missed = jnp.linalg.norm(jnp.where(kept, 0.0, vectors.T @ e))
        feasible = missed <= 1e-8 * jnp.linalg.norm(e)

        def along(S):
            """Orthogonal projection on the directions of the feasible set, in T_perp."""
            y = B._apply(left @ S @ right.T)
            return adjoint(times(H, y) - HF @ (core @ (HF.T @ y)))

        if 0 in (left.shape[1], right.shape[1]):  # T is everything: rho = 0
            upper = lower = jnp.where(feasible, 0.0, jnp.inf)
            code = jnp.where(feasible, jnp.where(injective, 1, 0), 2)
            return Certificate(upper, lower, injective, code)

        S0 = adjoint(HF @ (core @ e))
        S0 = S0 - along(S0)
        gamma = STEP * jnp.maximum(jnp.linalg.norm(S0), TINY)

        def split(s):
            y = S0 + along(s)
            return y, _spectral_prox(2.0 * y - s, gamma)

        def step(s):
            y, z = split(s)
            return RELAXATION * (z - y)

        def run(state):
            s, k, length, upper, lower = state
            s, best, more = accelerated(step, s, 1e-13 * gamma, length)
            y, _ = split(s)
            Z = y - s  # orthogonal to all directions: y - s = S0 - (s - along(s))
            upper = jnp.minimum(upper, _spectral_norm(y))
            nuclear = jnp.sum(jnp.linalg.svd(Z, compute_uv=False))
            lower = jnp.maximum(lower, jnp.vdot(Z, S0) / jnp.maximum(nuclear, TINY))
            stop = best <= 1e-13 * gamma
            length = jnp.where(stop, 0, jnp.minimum(2 * length, max_iterations - k - more))
            return s, k + more, length, upper, lower

        def running(state):
            _, _, length, upper, lower = state
            undecided = (upper >= 1.0 - MARGIN) & (lower <= 1.0 + MARGIN)
            return (length > 0) & (undecided | (upper - lower > accuracy)) & feasible

        length = jnp.minimum(FIRST_RUN, max_iterations)
        state = (S0, 0, length, _spectral_norm(S0), 0.0)
        _, _, _, upper, lower = jax.lax.while_loop(running, run, state)
        upper, lower = jnp.where(feasible, jnp.array([upper, lower]), jnp.inf)
        code = jnp.where(injective & (upper < 1.0 - MARGIN), 1, 0)
        code = jnp.where(lower > 1.0 + MARGIN, 2, code)
        return Certificate(upper, lower, injective, code)

    if quick and 0 not in (left.shape[1], right.shape[1]):
        # The feasible lam of least norm costs no Gram matrix; far above the transition it decides.
        values, vectors = jnp.linalg.eigh(F.T @ F)
        clear = values[0] > CLEAR * values[-1]
        lam = F @ (vectors @ (reciprocal(values) * (vectors.T @ e)))
        bound = _spectral_norm(adjoint(lam))
        yes = Certificate(bound, jnp.zeros(()), clear, jnp.ones((), dtype=int))
        certificate = jax.lax.cond(clear & (bound < 1.0 - MARGIN), lambda: yes, best)
    else:
        certificate = best()
    code = jnp.where(sound & ~singular, certificate.code, 0)
    return dataclasses.replace(certificate, code=code), singular


def _checked_rank(M, rank, symmetric):
    """The rank of a concrete M, or an error if M is not what the certificate is about."""
    if not M.any():
        raise ValueError("`M` is zero: the certificate needs a matrix of rank at least 1.")
    if symmetric and np.abs(M - M.T).max() > ASYMMETRY * np.abs(M).max():
        raise ValueError("`M` must be symmetric for a quadratic map: pass (M + M.T)/2.")
    values = np.linalg.svd(M, compute_uv=False)
    found = int(np.sum(values > RANK_TOLERANCE * values[0]))
    if rank not in (None, found):
        raise ValueError(f"`rank` = {rank} is not the rank of M, which is {found}: leave it out.")
    return found


def recovery_certificate(
    op, M, weighting="flat", *, rank=None, accuracy=None, max_iterations=20_000
):
    """Decide whether the flat or the nuclear-norm program recovers M from A(M).

    For a `quadratic` map everything happens on symmetric matrices.

    Parameters
    ----------
    op : measurement map
    M : (d1, d2), the truth
    weighting : "flat", or "nuclear" for D1 = D2 = I
    rank : rank of M; read off its singular values by default, needed inside a trace
    accuracy : None stops as soon as recovery is decided, often at the first, least-squares bound;
        a number goes on until rho - rho_lower <= accuracy
    max_iterations : bound on the splitting steps

    Returns
    -------
    Certificate with bounds on rho, `injective`, and `recovers`: "yes" | "no" | "undecided".

    Raises
    ------
    ValueError if M has the wrong shape, is not finite, is zero, is not of the given rank, or is not
    symmetric although the map is; if D1 or D2 is singular (flat weighting); if rank is missing
    inside a trace. Inside `jit`, `vmap` and `lax.map` values cannot raise: the answer is
    "undecided" instead.

    Source: Ding et al. (2024), Theorem 4.10.
    """
    check_map(op)
    check_weighting(weighting)
    M = as_float64("M", M, shape=op.shape)
    max_iterations = positive_integer("max_iterations", max_iterations)
    if rank is None and is_traced(M):
        raise ValueError("`rank` must be given inside jit, vmap and lax.map: shapes depend on it.")
    if rank is not None:
        rank = positive_integer("rank", rank)
        if rank > min(op.shape):
            raise ValueError(f"`rank` is at most min(d1, d2) = {min(op.shape)}, but is {rank}.")
    if not is_traced(M):
        rank = _checked_rank(np.asarray(M), rank, op.symmetric)
    standard, _ = standard_form(op, jnp.zeros(op.m))
    certificate, singular = certify(
        standard,
        M,
        op.m,
        weighting == "flat",
        jnp.inf if accuracy is None else accuracy,
        max_iterations,
        rank=rank,
        symmetric=op.symmetric,
    )
    if not is_traced(singular) and singular:
        raise ValueError(unobserved_message(op))
    return certificate
