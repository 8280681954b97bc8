r"""Weighted l_p minimisation: the flat program of Hadamard products, where p = 2 - 2/depth.

The flattest parameters of x = v_1 o ... o v_k with A x = b have the x that solves

    minimise sum_i w_i |x_i|^p   subject to   A x = b,          w_i = |a_i|^2,  p = 2 - 2/k

(Ding, Drusvyatskiy, Fazel, Harchaoui 2024, Section 9). At p = 1 this is a linear program.

Method. In z_i = w_i^(1/p) x_i, with orthonormal rows Q, the program is: minimise sum_i t_i^p
subject to Q z = c and -t <= z <= t. A primal-dual interior-point iteration with Mehrotra's
predictor and corrector solves it, the same for all p; a step costs one factorisation of Q Theta Q^T
with a diagonal Theta. For every y, c^T y / |Q^T y|_q <= |z|_p by Hölder's inequality, where
1/p + 1/q = 1: the multipliers y of Q z = c make the gap a bound, not an estimate.
"""

import jax
import jax.numpy as jnp

from flatlib._inputs import as_float64, is_traced, no_derivative, positive_integer
from flatlib._whitening import INCONSISTENT, reciprocal
from flatlib.convex import TINY, Solution, Status, check_tolerance

BOUNDARY = 0.99  # fraction of the way to the boundary that a step may go
PATIENCE = 10  # steps without a smaller gap after which rounding has stopped all progress


def lp_solution(A, b, weights, p, *, tolerance=1e-9, max_iterations=200):
    """The weighted l_p interpolant: minimise sum_i weights_i |x_i|^p subject to A x = b.

    Parameters
    ----------
    A : (m, n) matrix; its rows may be dependent
    b : measurements (m,)
    weights : (n,) positive numbers
    p : exponent, 1 <= p <= 2
    tolerance : bound on the relative gap, and on the relative error of x, estimated from the last
        step
    max_iterations : at most so many interior-point steps

    Returns
    -------
    Solution, with X the vector (n,), the relative residual |A x - b| / |b| and the relative gap
    between sum_i weights_i |x_i|^p and a lower bound that a dual point certifies. One compilation
    serves all b, weights and p of one shape.

    Raises
    ------
    ValueError for wrong shapes, weights that are not positive, p outside [1, 2], or b outside the
    range of A (inside a trace: the status INCONSISTENT); TypeError for float32.

    Source: Ding et al. (2024), Section 9.
    """
    A = as_float64("A", A, ndim=2)
    b = as_float64("b", b, shape=(A.shape[0],))
    weights = as_float64("weights", weights, shape=(A.shape[1],))
    p = as_float64("p", p, shape=())
    if not is_traced(p) and not 1.0 <= p <= 2.0:
        raise ValueError(f"`p` must lie between 1 and 2, but is {float(p)!r}.")
    if not is_traced(weights) and not bool(jnp.all(weights > 0)):
        raise ValueError(
            "`weights` must be positive: leave out the coordinates that cost nothing (with "
            "weights |a_i|^2, columns of zeros: no measurement sees them)."
        )
    check_tolerance(tolerance)
    max_iterations = positive_integer("max_iterations", max_iterations)
    solution = _solve(A, b, weights, p, tolerance, max_iterations)
    if not is_traced(solution.status) and int(solution.status) == Status.INCONSISTENT:
        raise ValueError(
            "`b` is inconsistent with `A`: no x satisfies A x = b (least relative residual "
            f"{float(solution.residual):.1e})."
        )
    return solution


@jax.jit
def _solve(A, b, weights, p, tolerance, max_iterations):
    A, b, weights, p = no_derivative((A, b, weights, p))
    unit = weights ** (1.0 / p)
    left, values, right = jnp.linalg.svd(A / unit, full_matrices=False)
    inverse = reciprocal(values, INCONSISTENT * values[0])
    kept = inverse > 0
    Q, c = right * kept[:, None], inverse * (left.T @ b)
    scale = jnp.maximum(jnp.linalg.norm(c), TINY)
    c = c / scale

    def residual(z):
        return jnp.linalg.norm(A @ (scale * z / unit) - b) / jnp.maximum(jnp.linalg.norm(b), TINY)

    def gap_of(z, multiplier):
        y = jnp.abs(Q.T @ multiplier)
        top = jnp.maximum(jnp.max(y), TINY)
        # (c^T multiplier / |y|_q)^p, with |y|_q^p = top^p S^(p-1) that is safe for q = infinity.
        S = jnp.sum((y / top) ** (p / (p - 1.0)))
        bound = jnp.maximum(jnp.vdot(c, multiplier) / top, 0.0) ** p / S ** (p - 1.0)
        objective = jnp.maximum(jnp.sum(jnp.abs(z) ** p), TINY)
        return (objective - bound) / objective

    def newton(below, above, u, v, multiplier):
        """The predictor and corrector step for the optimality conditions

        u - v = Q^T multiplier,  u + v = p t^(p-1),  Q z = c,  u (t - z) = mu = v (t + z).

        The state holds t - z and t + z, not t and z: near the solution their difference is lost.
        """
        z, t = _middle(below, above)
        a, e, h = u / below, v / above, p * (p - 1.0) * t ** (p - 2.0)
        r_z = Q.T @ multiplier - u + v
        r_t = u + v - p * t ** (p - 1.0)
        curvature = h + a + e
        theta = curvature / (4.0 * a * e + h * (a + e))
        # With R from a QR factorisation, R^T R = Q Theta Q^T keeps twice the digits of Cholesky:
        # theta ranges from 1/mu to mu.
        rows = jnp.concatenate([jnp.sqrt(theta)[:, None] * Q.T, jnp.diag(1.0 - kept)])
        factor = jnp.linalg.qr(rows, mode="r"), False

        def solve(c_u, c_v):
            """For the right-hand sides c_u, c_v of the two complementarity equations."""
            q = r_t + c_u / below + c_v / above
            g = r_z - c_u / below + c_v / above + (a - e) * q / curvature
            dm = jax.scipy.linalg.cho_solve(factor, c - Q @ (z + theta * g))
            dz = theta * (Q.T @ dm + g)
            dt = (q + (a - e) * dz) / curvature
            d_below, d_above = dt - dz, dt + dz
            du = c_u / below - a * d_below
            dv = c_v / above - e * d_above
            return d_below, d_above, du, dv, dm

        old = (below, above, u, v, multiplier)

        def length(step):
            pairs = zip(old[:4], step[:4], strict=True)
            return jnp.min(jnp.asarray([jnp.min(_to_boundary(x, dx)) for x, dx in pairs]))

        mu = (jnp.vdot(u, below) + jnp.vdot(v, above)) / (2 * z.size)
        d_below, d_above, du, dv, _ = predictor = solve(-u * below, -v * above)
        ahead = jnp.minimum(1.0, length(predictor))
        near = jnp.vdot(u + ahead * du, below + ahead * d_below)
        near += jnp.vdot(v + ahead * dv, above + ahead * d_above)
        centre = (near / (2 * z.size * jnp.maximum(mu, TINY))) ** 3 * mu
        step = solve(centre - u * below - du * d_below, centre - v * above - dv * d_above)
        ahead = jnp.minimum(1.0, BOUNDARY * length(step))
        return tuple(x + ahead * dx for x, dx in zip(old, step, strict=True))

    def body(state):
        k, point, old, *best, waited = state
        point = newton(*point)
        z, _ = _middle(*point[:2])
        z = z + Q.T @ (c - Q @ z)
        # For p > 1 the gap is quadratic in the error of z, so z must have settled, too. A step
        # leaves the fraction 1 - BOUNDARY of the error, or less.
        change = jnp.linalg.norm(z - old) / jnp.maximum(jnp.linalg.norm(z), TINY)
        new = z, gap_of(z, point[-1]), (1.0 - BOUNDARY) * change
        better = jnp.maximum(*new[1:]) < jnp.maximum(*best[1:])
        best = [jnp.where(better, x, x_best) for x, x_best in zip(new, best, strict=True)]
        return k + 1, point, z, *best, jnp.where(better, 0, waited + 1)

    def running(state):
        k, *_, gap, change, waited = state
        return (jnp.maximum(gap, change) > tolerance) & (k < limit) & (waited < PATIENCE)

    z = Q.T @ c  # Q z = c, and with these t, u, v all other linear equations hold, too
    t = jnp.abs(z) + jnp.max(jnp.abs(z)) + TINY
    u = 0.5 * p * t ** (p - 1.0)
    inconsistent = residual(z) > INCONSISTENT
    zero = scale <= TINY
    limit = jnp.where(inconsistent | zero, 0, max_iterations)
    unknown = jnp.where(zero, 0.0, jnp.inf)
    start = (0, (t - z, t + z, u, u, jnp.zeros_like(c)), z, z, unknown, unknown, 0)
    k, *_, z, gap, change, _ = jax.lax.while_loop(running, body, start)
    status = jnp.where(k >= limit, Status.ITERATION_LIMIT, Status.STALLED)
    valid = (p >= 1) & (p <= 2) & jnp.all(weights > 0)  # inside a trace bad values cannot raise
    status = jnp.where((jnp.maximum(gap, change) <= tolerance) & valid, Status.CONVERGED, status)
    status = jnp.where(inconsistent, Status.INCONSISTENT, status)
    return Solution(scale * z / unit, residual(z), gap, k, status)


def _middle(below, above):
    """z and t from t - z and t + z."""
    return 0.5 * (above - below), 0.5 * (above + below)


def _to_boundary(values, change):
    """The largest step along `change` that keeps the positive `values` positive."""
    return jnp.where(change < 0, -values / jnp.where(change < 0, change, -1.0), jnp.inf)
