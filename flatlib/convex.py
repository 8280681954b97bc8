r"""Convex programs of flatness: the flattest and the nuclear-norm interpolant, with certified gaps.

Theorem 3.2 of Ding, Drusvyatskiy, Fazel, Harchaoui (2024): the smallest scaled trace over the
solutions of A(L R^T) = b is four times the value of

    minimise |D1 X D2|_*   subject to   A(X) = b                                    (flat program)

whenever a minimiser of (flat program) has rank at most k. With D1 = D2 = I it is plain
nuclear-norm minimisation. For noisy b, where interpolation means little, the same matrices enter

    minimise (1/m) |A(X) - b|^2 + 4 strength |D1 X D2|_*                       (penalised program)

Method. In the whitened variable Y = D1 X D2 with B(Y) = A(D1^{-1} Y D2^{-1}), Douglas-Rachford
splitting alternates the proximal map of the measurements, y = s - B* H (B s - b) with
H = (B B*)^{-1} (the penalised program: H = (B B* + c I)^{-1}), and singular value soft
thresholding by gamma, z = SVT(2y - s); type-II Anderson acceleration extrapolates the sequence of
s. It cannot where s drifts by equal steps, as with data of small noise; then gamma is shortened.
Every step leaves W = (y - s)/gamma in the range of B*, so that W, scaled to |W|_op <= 1, is a
feasible point of the dual program: the reported gap is a bound, not an estimate.

Many instances at once. Everything compiled depends on the shapes alone, and zero measurements
(A_i = 0, b_i = 0) change nothing: pad all instances to a common m and write

    jax.lax.map(lambda instance: fl.flat_solution(fl.dense(instance[0]), instance[1]), (As, bs))

(on a CPU `lax.map` is faster than `vmap`). Inside a trace nothing is raised: read `status`.
Solutions have no derivative: `jax.grad` raises TypeError.
"""

import dataclasses
import enum
import functools

import jax
import jax.numpy as jnp
import numpy as np

from flatlib._inputs import as_float64, is_traced, no_derivative, positive_integer
from flatlib._whitening import (
    INCONSISTENT,
    SINGULAR,
    independent,
    inverse_gram,
    reciprocal,
    standard_form,
    times,
    whiten,
)
from flatlib.measurements import check_map

STEP = 0.5  # first step length gamma, relative to the norm of the least-norm interpolant
SHORTER = 0.1  # factor on the step length when the iteration has stalled
SHORTEST = 1e-6  # least step length, relative to the first one: below it we give up
RELAXATION = 1.5
MEMORY = 15  # differences kept by the Anderson acceleration
REGULARISATION = 1e-10  # of its least-squares problem, relative
PATIENCE = 200  # iterations without a new best residual after which the iteration has stalled
TINY = 1e-300  # keeps 0/0 at 0


class Status(enum.IntEnum):
    """Outcome of a solver. Only CONVERGED is an answer."""

    CONVERGED = 0
    ITERATION_LIMIT = 1  # max_iterations reached
    STALLED = 2  # rounding (or a non-finite number) stops all progress before the tolerance
    INCONSISTENT = 3  # no X satisfies A(X) = b
    UNOBSERVED = 4  # D1 or D2 is singular: some rows, columns or directions are never observed


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "residual", "gap", "iterations", "status"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Solution:
    """What a solver returns.

    Attributes
    ----------
    X : (d1, d2), the matrix found
    residual : |A(X) - b| / |b|, or what the solver's own docstring says
    gap : (objective(X) - lower bound) / objective(X), where the lower bound on the optimal value
        comes from a feasible point of the dual program
    iterations : number of Douglas-Rachford steps
    status : a `Status` code; an array inside `jit`, `vmap` and `lax.map`
    """

    X: jax.Array
    residual: jax.Array
    gap: jax.Array
    iterations: jax.Array
    status: jax.Array

    @property
    def converged(self):
        """Whether the tolerance has been met; an array inside a trace and for a batch."""
        converged = self.status == Status.CONVERGED
        return converged if is_traced(converged) or jnp.ndim(converged) else bool(converged)

    @property
    def status_name(self):
        """The status in words; a list for a batch. Not available inside a trace."""
        return jax.tree.map(
            lambda code: Status(code).name.lower(), np.asarray(self.status).tolist()
        )


# ------------------------------------------------------------------ the iteration


def soft_threshold(X, threshold, symmetric):
    """Soft thresholding of the singular values, through the eigenvectors of a Gram matrix."""
    if symmetric:
        values, vectors = jnp.linalg.eigh(0.5 * (X + X.T))
        shrunk = jnp.sign(values) * jnp.maximum(jnp.abs(values) - threshold, 0.0)
        return (vectors * shrunk) @ vectors.T
    if X.shape[0] < X.shape[1]:
        return soft_threshold(X.T, threshold, symmetric).T
    vectors, squares = jax.lax.linalg.eigh(X.T @ X, symmetrize_input=False)
    singular = jnp.sqrt(jnp.maximum(squares, 0.0))
    factor = jnp.maximum(1.0 - threshold / jnp.maximum(singular, TINY), 0.0)
    return X @ ((vectors * factor) @ vectors.T)


def accelerated(step, start, tolerance, max_iterations):
    """Iterate s <- s + step(s) with type-II Anderson acceleration until |step(s)| <= tolerance.

    A point whose |step| exceeds twice the smallest so far is rejected: the iteration goes on from
    the last plain step instead and forgets its memory.

    Returns the s of the smallest |step(s)|, that |step(s)|, and the number of iterations. It ends
    early, stalled, when |step(s)| has not fallen for PATIENCE iterations.
    """
    size = start.size

    def body(state):
        k, s, (plain, f_old, moves, changes, count), best, s_best, waited = state
        f = step(s.reshape(start.shape)).reshape(-1)
        size_f = jnp.linalg.norm(f)
        accepted = size_f <= 2.0 * best
        improved = size_f < best
        f = jnp.where(accepted, f, f_old)
        g = jnp.where(accepted, s + f, plain)
        moves = moves.at[count % MEMORY].set(g - plain)
        changes = changes.at[count % MEMORY].set(f - f_old)
        count = jnp.where(accepted, count + 1, 0)  # 0: the memory is void
        gram = changes @ changes.T
        norms = jnp.where(jnp.arange(MEMORY) < count, jnp.sqrt(jnp.diag(gram)), 0.0)
        scale = reciprocal(norms)
        gram = gram * scale[:, None] * scale[None, :] + REGULARISATION * jnp.eye(MEMORY)
        factor = jax.scipy.linalg.cho_factor(gram)
        theta = scale * jax.scipy.linalg.cho_solve(factor, scale * (changes @ f))
        memory = g, f, moves, changes, count
        s_best = jnp.where(improved, s, s_best)
        waited = jnp.where(improved, 0, waited + 1)
        return k + 1, g - theta @ moves, memory, jnp.minimum(size_f, best), s_best, waited

    def running(state):
        k, _, _, best, _, waited = state
        return (best > tolerance) & (k < max_iterations) & (waited < PATIENCE)

    s = start.reshape(-1)
    empty = jnp.zeros((MEMORY, size))
    state = (0, s, (s, jnp.zeros(size), empty, empty, -1), jnp.inf, s, 0)
    k, _, _, best, s_best, _ = jax.lax.while_loop(running, body, state)
    return s_best.reshape(start.shape), best, k


def nuclear_norm(X):
    return jnp.sum(jnp.linalg.svd(X, compute_uv=False))


@functools.partial(jax.jit, static_argnames=("symmetric",))
def solve(op, b, m, flat, strength, tolerance, max_iterations, *, symmetric):
    """Solve the flat program (strength None) or the penalised one; op and b in standard form."""
    op, b, strength = no_derivative((op, b, strength))
    measured, P1, P2, singular = whiten(op, m, flat)
    interpolate = strength is None
    b_norm = jnp.maximum(jnp.linalg.norm(b), TINY)
    if interpolate:
        B, c, H = independent(measured, b)
        start = B._adjoint(times(H, c))
        start = start + B._adjoint(times(H, c - B._apply(start)))
    else:
        # In units of 4 strength the program reads |Y|_* + |B(Y) - b|^2 / (2 alpha).
        B, c, alpha = measured, b, 2.0 * m * strength
        start = B._adjoint(b)
        image = B._apply(start)
        start = start * jnp.vdot(image, b) / jnp.maximum(jnp.vdot(image, image), TINY)
    first = STEP * jnp.maximum(jnp.linalg.norm(start), TINY)
    residual = jnp.linalg.norm(measured._apply(start) - b) / b_norm
    inconsistent = interpolate & (residual > INCONSISTENT)
    limit = jnp.where(inconsistent | singular, 0, max_iterations)

    def split(s, gamma, H):
        multiplier = times(H, c - B._apply(s))
        y = s + B._adjoint(multiplier)
        return y, soft_threshold(2.0 * y - s, gamma, symmetric), multiplier / gamma

    def finish(y, z, mu):
        t = 1.0 / jnp.maximum(jnp.linalg.norm(B._adjoint(mu), 2), TINY)  # t mu is dual feasible
        if interpolate:
            for _ in range(2):  # the measurements to rounding
                y = y + B._adjoint(times(H, c - B._apply(y)))
            objective, bound = nuclear_norm(y), t * jnp.vdot(mu, c)
            misfit = measured._apply(y) - b
        else:
            y, misfit = z, B._apply(z) - b
            objective = nuclear_norm(y) + jnp.vdot(misfit, misfit) / (2.0 * alpha)
            linear, square = jnp.vdot(mu, b), alpha * jnp.vdot(mu, mu)
            t = jnp.clip(linear / jnp.maximum(square, TINY), 0.0, t)
            bound = t * linear - 0.5 * t**2 * square
        gap = (objective - bound) / jnp.maximum(objective, TINY)
        return y, jnp.linalg.norm(misfit) / b_norm, gap

    def attempt(state):
        s, gamma, goal, k, *_ = state
        inverse = H if interpolate else inverse_gram(B, alpha / gamma)

        def step(s):
            y, z, _ = split(s, gamma, inverse)
            return RELAXATION * (z - y)

        s, best, more = accelerated(step, s, goal * gamma, limit - k)
        y, z, mu = split(s, gamma, inverse)
        reached = best <= goal * gamma
        new = jnp.where(reached, gamma, SHORTER * gamma)
        s = y + (s - y) * (new / gamma)  # the same y and mu with the new step length
        goal = jnp.where(reached, 0.1 * goal, goal)  # only used if the gap is still too large
        return s, new, goal, k + more, *finish(y, z, mu), best / gamma

    def solved(gap, change):
        return (gap <= tolerance) & (change <= tolerance / STEP)

    def running(state):
        _, gamma, _, k, _, _, gap, change = state
        return ~solved(gap, change) & ~jnp.isnan(gap) & (gamma >= SHORTEST * first) & (k < limit)

    # The first goal is the tolerance: then the gap is about the tolerance, too.
    state = (start, first, tolerance, 0, start, residual, jnp.inf, jnp.inf)
    *_, k, y, residual, gap, change = jax.lax.while_loop(running, attempt, state)
    status = jnp.where(k >= limit, Status.ITERATION_LIMIT, Status.STALLED)
    accepted = solved(gap, change)
    if not interpolate:
        accepted &= strength > 0  # inside a trace a bad strength cannot raise
    status = jnp.where(accepted, Status.CONVERGED, status)
    status = jnp.where(inconsistent, Status.INCONSISTENT, status)
    status = jnp.where(singular, Status.UNOBSERVED, status)
    X = P1 @ y @ P2
    return Solution(0.5 * (X + X.T) if symmetric else X, residual, gap, k, status)


# ------------------------------------------------------------------ the public functions


def check_weighting(weighting):
    if weighting not in ("flat", "nuclear"):
        raise ValueError(f"`weighting` must be 'flat' or 'nuclear', but is {weighting!r}.")


def check_tolerance(tolerance):
    if is_traced(tolerance):
        raise TypeError("`tolerance` must be a number that is known before jit, vmap and lax.map.")
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"`tolerance` must lie between 0 and 1, but is {tolerance!r}.")


def unobserved_message(op):
    """Says what a map with singular D1 or D2 does not observe, and the remedy."""
    missing = []
    for name, D in zip(("rows", "columns"), op.rescaling(), strict=True):
        values, vectors = np.linalg.eigh(np.asarray(D))
        null = vectors[:, values <= np.sqrt(SINGULAR) * values[-1]]
        alone = np.flatnonzero(np.sum(null**2, axis=1) > 1.0 - 1e-9)
        if len(alone):
            missing.append(f"{name} {alone.tolist()}")
        if len(alone) < null.shape[1]:
            missing.append(f"{null.shape[1] - len(alone)} combination(s) of {name}")
    return (
        f"`op` never observes {' and '.join(missing)} of X: D1 or D2 is singular, and no method "
        "can recover what is not observed. Add measurements that see it, or leave it out of X."
    )


def _run(op, b, strength, weighting, tolerance, max_iterations):
    check_map(op)
    b = as_float64("b", b, shape=(op.m,))
    max_iterations = positive_integer("max_iterations", max_iterations)
    check_tolerance(tolerance)
    standard, target = standard_form(op, b)
    solution = solve(
        standard,
        target,
        op.m,
        weighting == "flat",
        strength,
        tolerance,
        max_iterations,
        symmetric=op.symmetric,
    )
    if not is_traced(solution.status):
        status = int(solution.status)
        if status == Status.UNOBSERVED:
            raise ValueError(unobserved_message(op))
        if status == Status.INCONSISTENT:
            raise ValueError(
                "`b` is inconsistent with `op`: no X satisfies A(X) = b (least relative residual "
                f"{float(solution.residual):.1e}). For noisy measurements use penalized_solution."
            )
    return solution


def flat_norm(op, X):
    """The value |D1 X D2|_* of the flat program at X (d1, d2).

    Four times it is the smallest scaled trace among all factorisations of X.

    Source: Ding et al. (2024), Theorem 3.2.
    """
    check_map(op)
    X = as_float64("X", X, shape=op.shape)
    D1, D2 = op.rescaling()
    return nuclear_norm(D1 @ X @ D2)


def flat_solution(op, b, *, tolerance=1e-9, max_iterations=20_000):
    """The flattest interpolant: minimise |D1 X D2|_* subject to A(X) = b.

    For a `quadratic` map X ranges over symmetric matrices. Linearly dependent measurements are
    fine as long as b is consistent with them.

    Parameters
    ----------
    op : measurement map
    b : measurements (m,)
    tolerance : bound on the relative gap, and on the relative change of the iterates
    max_iterations : bound on the Douglas-Rachford steps

    Returns
    -------
    Solution; read its `status` before using X.

    Raises
    ------
    ValueError if b has the wrong shape, is not finite or is inconsistent (`penalized_solution` is
    the tool then), or if D1 or D2 is singular. Inside `jit`, `vmap` and `lax.map` values cannot
    raise: the status is INCONSISTENT or UNOBSERVED instead.

    Source: Ding et al. (2024), Theorem 3.2.
    """
    return _run(op, b, None, "flat", tolerance, max_iterations)


def nuclear_solution(op, b, *, tolerance=1e-9, max_iterations=20_000):
    """The interpolant of least nuclear norm: minimise |X|_* subject to A(X) = b.

    Parameters, result and errors as in `flat_solution`, except that unobserved rows, columns or
    directions are no error: the minimiser is zero there.
    """
    return _run(op, b, None, "nuclear", tolerance, max_iterations)


def penalized_solution(op, b, strength, weighting="flat", *, tolerance=1e-9, max_iterations=20_000):
    """Flatness as a penalty: minimise (1/m)|A(X) - b|^2 + 4 strength |D1 X D2|_*.

    This is the minimum over factors L R^T = X of loss + strength * scaled trace. The measurements
    may be noisy, inconsistent and of any number.

    Parameters
    ----------
    op : measurement map
    b : measurements (m,)
    strength : positive weight of the scaled trace
    weighting : "flat", or "nuclear" for D1 = D2 = I
    tolerance, max_iterations : as in `flat_solution`

    Returns
    -------
    Solution; the gap is that of the penalised program, and the residual |A(X) - b|/|b| is not
    meant to vanish.

    Raises
    ------
    ValueError if strength is not positive (inside a trace the status is STALLED), or as in
    `flat_solution`, except that no b is inconsistent here.
    """
    check_weighting(weighting)
    strength = as_float64("strength", strength, shape=())
    if not is_traced(strength) and not float(strength) > 0:
        raise ValueError(
            f"`strength` must be positive, but is {float(strength)}: for exact interpolation use "
            "flat_solution or nuclear_solution."
        )
    return _run(op, b, strength, weighting, tolerance, max_iterations)


def flat_factors(op, X, k, *, tolerance=1e-6):
    """The flattest factorisation L R^T = X with k columns, L (d1, k) and R (d2, k).

    With D1 X D2 = U S V^T it is L = D1^{-1} U sqrt(S), R = D2^{-1} V sqrt(S), filled with zero
    columns. Its scaled trace is 4 |D1 X D2|_*, the least possible. Singular values of D1 X D2
    beyond the k-th are dropped; inside `jit` and `vmap`, where the rank cannot be checked, even
    those that matter.

    Parameters
    ----------
    op : measurement map
    X : (d1, d2)
    k : number of columns
    tolerance : singular values below tolerance times the largest count as zero

    Raises
    ------
    ValueError if the rank of X exceeds k, or if D1 or D2 is singular.

    Source: Ding et al. (2024), Theorem 3.2.
    """
    check_map(op)
    X, k = as_float64("X", X, shape=op.shape), positive_integer("k", k)
    D1, D2 = op.rescaling()
    U, sigma, Vt = jnp.linalg.svd(D1 @ X @ D2, full_matrices=False)
    if not is_traced(sigma):
        extremes = [np.linalg.eigvalsh(np.asarray(D)) for D in (D1, D2)]
        if any(values[0] <= np.sqrt(SINGULAR) * values[-1] for values in extremes):
            raise ValueError(unobserved_message(op))
        rank = int(jnp.sum(sigma > tolerance * sigma[0]))
        if rank > k:
            raise ValueError(
                f"`k` = {k} columns cannot factor X, whose rank is {rank} (singular values above "
                f"{tolerance:.0e} of the largest): raise k."
            )
    kept = min(k, len(sigma))
    roots = jnp.sqrt(sigma[:kept])
    L = jnp.linalg.solve(D1, U[:, :kept] * roots)
    R = jnp.linalg.solve(D2, Vt[:kept].T * roots)
    fill = ((0, 0), (0, k - kept))
    return jnp.pad(L, fill), jnp.pad(R, fill)
