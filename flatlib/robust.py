r"""Robust PCA: a low-rank matrix with a few entries corrupted, by flatness and by pursuit.

Section 6 of Ding, Drusvyatskiy, Fazel, Harchaoui (2024): for Y = M + S0 and the local model of the
squared distance to the ball {|S|_1 <= radius}, the flat solutions are the factorisations of the
minimisers of

    minimise |X|_*                    subject to   |Y - X|_1 <= radius            (`robust_pca`)

with |S|_1 the sum of all |S_ij|. The radius is that of an oracle, |S0|_1. Principal component
pursuit (Candes, Li, Ma, Wright 2011) puts the constraint into the objective,

    minimise |X|_* + weight |Y - X|_1                                             (`pursuit`)

Method. Douglas-Rachford splitting alternates the proximal map of the corruption, y = Y - P(Y - s)
with P soft thresholding by size * gamma (pursuit) or the projection on the ball (robust_pca), and
soft thresholding of the singular values by a step length gamma, z = SVT(2y - s). The dual variable
is V = (y - s)/gamma. Two stages follow each other.

1. At most VARIED steps s = z - gamma V. After each one gamma becomes |change of y| / |change of V|,
   within a factor CHANGE of the old one, so that neither lags behind: the geometric mean of the two
   Barzilai-Borwein step lengths. In large matrices a block of singular vectors is carried from step
   to step in place of a full decomposition, while it seems to hold all that exceed gamma.
2. If that does not end it, gamma returns to its first value and stays, and type-II Anderson
   acceleration extrapolates s. Where even this stalls, gamma is shortened, a few times.

Each runs until z - y, relative to gamma, is below a goal: the tolerance, and a tenth of the goal
whenever that was not enough for the gap.

Every V with |V|_op <= 1 bounds the optimal value below, by <V, Y> - radius |V|_max for
`robust_pca` and, where |V|_max <= weight, by <V, Y> for `pursuit`. The dual variable, scaled, is
such a V: the reported gap is a bound. An answer counts as converged if it reached its goal, and its
gap and its excess over the radius are at most the tolerance. A small residual alone proves nothing
here, and a step that is not exact can cost time, but not make a wrong answer pass.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from flatlib._inputs import as_float64, is_traced, no_derivative, positive_integer
from flatlib.convex import (
    RELAXATION,
    TINY,
    Solution,
    Status,
    accelerated,
    check_tolerance,
    nuclear_norm,
    soft_threshold,
)

STEP = 0.1  # first step length / (mean |Y_ij| sqrt(max(d1, d2))), about that of pure noise over 10
VARIED = 60  # steps of the first stage, at most
CHANGE = 1.5  # largest factor between two of its step lengths
SHORTER = 0.3  # factor on the step length after the second stage has stalled
SHORTEST = 1e-3  # least step length, relative to the first one: no shorter, or we give up
LARGE = 100  # from min(d1, d2) = LARGE on, a block of min(d1, d2) // 10 singular vectors pays


def _level(X, radius):
    """The level at which soft thresholding projects X on {|X|_1 <= radius}.

    Newton's method finds it: from below, and exactly after finitely many steps, because the excess
    over the radius is convex and piecewise linear in the level.
    """
    sizes = jnp.abs(X)

    def newton(levels):
        level, _ = levels
        above = sizes > level
        excess = jnp.sum(jnp.where(above, sizes, 0.0)) - radius
        return excess / jnp.maximum(jnp.sum(above), 1), level

    start = (jnp.sum(sizes) - radius) / sizes.size
    levels = jax.lax.while_loop(lambda levels: levels[0] > levels[1], newton, (start, -jnp.inf))
    return jnp.maximum(jnp.maximum(*levels), 0.0)  # rounding may make the last one fall back


def _block_threshold(X, threshold, basis):
    """Soft thresholding of the singular values, and a better basis of the leading singular vectors.

    One step of subspace iteration improves the basis (d2, block). Where it may be too small to hold
    all singular values above the threshold, all of X is decomposed.
    """
    if basis.shape[1] == 0:
        return soft_threshold(X, threshold, symmetric=False), basis
    basis, _ = jnp.linalg.qr(X.T @ (X @ basis))
    left, values, right = jnp.linalg.svd(X @ basis, full_matrices=False)
    basis = basis @ right.T
    shrunk = jax.lax.cond(
        values[-1] <= threshold,
        lambda: (left * jnp.maximum(values - threshold, 0.0)) @ basis.T,
        lambda: soft_threshold(X, threshold, symmetric=False),
    )
    return shrunk, basis


@functools.partial(jax.jit, static_argnames=("constrained",))
def _separate(Y, size, tolerance, max_iterations, *, constrained):
    """Solve robust_pca (size is the radius) or pursuit (size is the weight)."""
    Y, size = no_derivative((Y, size))
    mean = jnp.mean(jnp.abs(Y))
    unit = jnp.ldexp(1.0, jnp.frexp(mean)[1])  # a power of two: nothing is rounded
    Y, size = Y / unit, size / unit if constrained else size
    first = STEP * np.sqrt(max(Y.shape)) * jnp.where(mean == 0.0, 1.0, mean / unit)

    def split(s, gamma):
        """y and V, where y = s + gamma V."""
        E = Y - s
        level = _level(E, size) if constrained else size * gamma
        cut = jnp.clip(E, -level, level)  # E - P(E)
        return s + cut, cut / gamma

    def vary(s, gamma, basis, goal, k):
        """Steps of varying length, until |z - y| <= goal * gamma."""

        def step(state):
            s, gamma, basis, k, y_old, V_old, _ = state
            y, V = split(s, gamma)
            z, basis = _block_threshold(2.0 * y - s, gamma, basis)
            ratio = jnp.linalg.norm(y - y_old) / jnp.maximum(jnp.linalg.norm(V - V_old), TINY)
            new = jnp.clip(ratio, gamma / CHANGE, gamma * CHANGE)
            new = jnp.maximum(new, SHORTEST * first)
            return z - new * V, new, basis, k + 1, y, V, jnp.linalg.norm(z - y) / gamma

        def running(state):
            *_, k, _, _, change = state
            return (change > goal) & (k < jnp.minimum(VARIED, max_iterations))

        zero = jnp.zeros_like(Y)
        start = s, gamma, basis, k, zero, zero, jnp.inf  # the first ratio is |y| / |V|
        s, gamma, basis, k, _, _, change = jax.lax.while_loop(running, step, start)
        new = jnp.where(k < VARIED, gamma, first)  # the second stage starts like the first
        return s, gamma, basis, k, change <= goal, new

    def accelerate(s, gamma, basis, goal, k):
        """Accelerated steps of one length, until RELAXATION |z - y| <= goal * gamma."""

        def step(s):
            y, _ = split(s, gamma)
            return RELAXATION * (soft_threshold(2.0 * y - s, gamma, symmetric=False) - y)

        steps = jnp.where(k < VARIED, 0, max_iterations - k)  # a vmap runs both branches
        s, best, more = accelerated(step, s, goal * gamma, steps)
        reached = best <= goal * gamma
        return s, gamma, basis, k + more, reached, jnp.where(reached, gamma, SHORTER * gamma)

    def certify(s, gamma):
        y, V = split(s, gamma)
        V = V / jnp.maximum(jnp.linalg.norm(V, 2), 1.0)
        corruption = jnp.sum(jnp.abs(Y - y))
        if constrained:
            objective, bound = nuclear_norm(y), jnp.vdot(V, Y) - size * jnp.max(jnp.abs(V))
            residual = jnp.maximum(corruption / size - 1.0, 0.0)
        else:
            objective, bound = nuclear_norm(y) + size * corruption, jnp.vdot(V, Y)
            residual = jnp.zeros(())
        gap = (objective - jnp.maximum(bound, 0.0)) / jnp.maximum(objective, TINY)  # V = 0 gives 0
        return y, residual, gap

    def attempt(state):
        s, gamma, basis, goal, k, *_ = state
        s, gamma, basis, k, reached, new = jax.lax.cond(
            k < VARIED, vary, accelerate, s, gamma, basis, goal, k
        )
        X, residual, gap = certify(s, gamma)
        s = X + (s - X) * (new / gamma)  # the same y and V with the new step length
        goal = jnp.where(reached, 0.1 * goal, goal)  # only used if the gap is still too large
        return s, new, basis, goal, k, X, residual, gap, reached

    def running(state):
        _, gamma, _, _, k, _, _, gap, reached = state
        useful = ~jnp.isnan(gap) & (gamma >= SHORTEST * first)
        return ~(reached & (gap <= tolerance)) & useful & (k < max_iterations)

    block = min(Y.shape) // 10 if min(Y.shape) >= LARGE else 0
    basis = jax.random.normal(jax.random.key(0), (Y.shape[1], block))
    start = (jnp.zeros_like(Y), first, basis, tolerance, 0, Y, jnp.zeros(()), 1.0, False)
    *_, k, X, residual, gap, reached = jax.lax.while_loop(running, attempt, start)
    solved = reached & (gap <= tolerance) & (residual <= tolerance)
    solved = solved & (size > 0)  # inside a trace a bad size cannot raise
    status = jnp.where(k >= max_iterations, Status.ITERATION_LIMIT, Status.STALLED)
    return Solution(unit * X, residual, gap, k, jnp.where(solved, Status.CONVERGED, status))


def _run(Y, name, size, tolerance, max_iterations):
    Y = as_float64("Y", Y, ndim=2)
    if 0 in Y.shape:
        raise ValueError(f"`Y` must hold at least one number, but has shape {Y.shape}.")
    size = as_float64(name, size, ndim=0)
    if not is_traced(size) and not size > 0:
        raise ValueError(f"`{name}` must be positive, but is {float(size):g}.")
    max_iterations = positive_integer("max_iterations", max_iterations)
    check_tolerance(tolerance)
    return _separate(Y, size, tolerance, max_iterations, constrained=name == "radius")


def robust_pca(Y, radius, *, tolerance=1e-9, max_iterations=20_000):
    """The flat solution of robust PCA: minimise |X|_* subject to sum |Y - X| <= radius.

    Parameters
    ----------
    Y : (d1, d2), the sum of a low-rank matrix and a sparse one
    radius : positive; |S0|_1 = sum |S0_ij| of the sparse part S0 if an oracle tells it
    tolerance : bound on the relative gap, on the residual, and on the change of the iterates
    max_iterations : bound on the Douglas-Rachford steps

    Returns
    -------
    Solution. The sparse part is Y - X; `residual` is max(0, |Y - X|_1 - radius) / radius. Read the
    `status` before using X. Solutions have no derivative.

    Raises
    ------
    ValueError if Y is not a finite matrix or the radius is not positive; TypeError if one of them
    is not float64. Inside `jit`, `vmap` and `lax.map` values cannot raise: the status says so.

    Source: Ding et al. (2024), Section 6.
    """
    return _run(Y, "radius", radius, tolerance, max_iterations)


def pursuit(Y, weight, *, tolerance=1e-9, max_iterations=20_000):
    """Principal component pursuit: minimise |X|_* + weight * sum |Y - X|.

    Parameters
    ----------
    Y : (d1, d2), the sum of a low-rank matrix and a sparse one
    weight : positive; 1/sqrt(max(d1, d2)) is the customary one
    tolerance, max_iterations : as in `robust_pca`

    Returns
    -------
    Solution, as in `robust_pca`; there is no constraint, and the residual is 0.

    Raises
    ------
    As `robust_pca`, for `weight` in the place of `radius`.

    Source: Candes, Li, Ma, Wright (2011), Theorem 1.1.
    """
    return _run(Y, "weight", weight, tolerance, max_iterations)
