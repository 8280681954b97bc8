r"""Robust PCA: a low-rank matrix with a few entries corrupted, by flatness and by pursuit.

Section 6 of Ding, Drusvyatskiy, Fazel, Harchaoui (2024): for Y = M + S0 and the local model of the
squared distance to the ball {|S|_1 <= radius}, the flat solutions are the factorisations of the
minimisers of

    minimise |X|_*                    subject to   |Y - X|_1 <= radius            (`robust_pca`)

with |S|_1 the sum of all |S_ij|. The radius is that of an oracle, |S0|_1. Principal component
pursuit (Candes, Li, Ma, Wright 2011) puts the constraint into the objective,

    minimise |X|_* + weight |Y - X|_1                                             (`pursuit`)

Method. Douglas-Rachford splitting alternates the proximal map of the corruption, y = Y - P(Y - s)
with P soft thresholding (pursuit) or the projection on the ball (robust_pca), and soft thresholding
of the singular values, z = SVT(2y - s); type-II Anderson acceleration extrapolates s. Every V with
|V|_op <= 1 bounds the optimal value below, by <V, Y> - radius |V|_max for `robust_pca` and, where
|V|_max <= weight, by <V, Y> for `pursuit`. V = (y - s)/gamma, scaled, is such a matrix, so that the
reported gap is a bound. It is what convergence is judged by: a small residual proves nothing here.
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

STEP = 0.04  # step length relative to the mean of |Y_ij| times sqrt(max(d1, d2))
SHORTER = 0.3  # factor on the step length after the iteration has stalled
SHORTEST = 1e-3  # step length, relative to the first one, below which a stalled run is given up


def _shrink(X, threshold):
    """Soft thresholding of the entries."""
    return jnp.sign(X) * jnp.maximum(jnp.abs(X) - threshold, 0.0)


def _project(X, radius):
    """Projection on {|X|_1 <= radius}: soft thresholding at the level that meets the radius.

    Newton's method finds the level: from below, and exactly after finitely many steps, because the
    excess over the radius is convex and piecewise linear in the level.
    """
    sizes = jnp.abs(X)

    def newton(levels):
        level, _ = levels
        above = sizes > level
        excess = jnp.sum(jnp.where(above, sizes, 0.0)) - radius
        return excess / jnp.maximum(jnp.sum(above), 1), level

    start = (jnp.sum(sizes) - radius) / sizes.size
    level, _ = jax.lax.while_loop(lambda levels: levels[0] > levels[1], newton, (start, -jnp.inf))
    return _shrink(X, jnp.maximum(level, 0.0))


@functools.partial(jax.jit, static_argnames=("constrained",))
def _separate(Y, size, tolerance, max_iterations, *, constrained):
    """Solve robust_pca (size is the radius) or pursuit (size is the weight)."""
    Y, size = no_derivative((Y, size))
    first_gamma = STEP * jnp.maximum(np.sqrt(max(Y.shape)) * jnp.mean(jnp.abs(Y)), TINY)

    def split(s, gamma):
        E = Y - s
        y = Y - (_project(E, size) if constrained else _shrink(E, size * gamma))
        return y, soft_threshold(2.0 * y - s, gamma, symmetric=False)

    def finish(s, gamma):
        y, _ = split(s, gamma)
        V = (y - s) / gamma
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
        s, gamma, goal, k, *_ = state

        def step(s):
            y, z = split(s, gamma)
            return RELAXATION * (z - y)

        s, best, more = accelerated(step, s, goal * gamma, max_iterations - k)
        X, residual, gap = finish(s, gamma)
        reached = best <= goal * gamma
        # Stalled: go on from the same y and V with a shorter step length.
        shorter = jnp.where(reached, gamma, SHORTER * gamma)
        s = X + (s - X) * (shorter / gamma)
        return s, shorter, jnp.where(reached, 0.1 * goal, goal), k + more, X, residual, gap, reached

    def running(state):
        _, gamma, _, k, _, _, gap, reached = state
        useful = (gap <= 1.0) & (gamma > SHORTEST * first_gamma)  # a gap that is NaN is not useful
        return ~(reached & (gap <= tolerance)) & useful & (k < max_iterations)

    start = (jnp.zeros_like(Y), first_gamma, tolerance, 0, Y, jnp.zeros(()), 1.0, False)
    *_, k, X, residual, gap, reached = jax.lax.while_loop(running, attempt, start)
    solved = reached & (gap <= tolerance) & (size > 0)  # inside a trace a bad size cannot raise
    status = jnp.where(k >= max_iterations, Status.ITERATION_LIMIT, Status.STALLED)
    return Solution(X, residual, gap, k, jnp.where(solved, Status.CONVERGED, status))


def _run(Y, name, size, tolerance, max_iterations):
    Y = as_float64("Y", Y, ndim=2)
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
    tolerance : bound on the relative gap, and on the relative change of the iterates
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
