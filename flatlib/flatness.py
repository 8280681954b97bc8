r"""How flat a loss is at a point: traces and the largest eigenvalue of its Hessian.

For the factorised loss f(L, R) = (1/m)|A(L R^T) - b|^2 the traces of the two diagonal blocks of the
Hessian are closed forms in D1 and D2 (Ding, Drusvyatskiy, Fazel, Harchaoui 2024, Lemmas 2.1 and
3.1),

    tr(L block) = 2 d1 |D2 R|_F^2,     tr(R block) = 2 d2 |D1 L|_F^2,

and the scaled trace is 2|D1 L|_F^2 + 2|D2 R|_F^2. The paper states this where the loss is zero; it
holds at every point, because the loss is quadratic in each factor alone. `block_traces` and
`scaled_trace` cost microseconds and are what to use for two factors. `hessian_trace` and
`top_eigenvalue` are for any twice differentiable loss of any pytree of parameters: they see the
Hessian through its products with vectors only, with the estimators of `matfree`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from flatlib._inputs import as_float64, is_traced, positive_integer, require_key
from flatlib.measurements import check_map

_CHUNK = 64  # Hessian-vector products held in memory at once by the exact trace
_DENSE = 256  # up to this many parameters the top eigenvalue comes from the dense Hessian
_KRYLOV = 64  # dimension of the Krylov space between two restarts


def factor_loss(op, b):
    """The loss of two factors, f(L, R) = (1/m)|A(L R^T) - b|^2.

    Parameters
    ----------
    op : measurement map
    b : measurements (m,)

    Returns
    -------
    loss(params, batch=None, key=None) -> scalar, with params = (L, R), L (d1, k) and R (d2, k).
        `batch` holds the indices of the measurements to average over; None means all of them.
        `key` is accepted and not used, so that the loss has the signature of `train`.
    """
    check_map(op)
    b = as_float64("b", b, shape=(op.m,))

    def loss(params, batch=None, key=None):
        if not isinstance(params, tuple | list) or len(params) != 2:
            raise TypeError("`params` must be the pair of factors (L, R).")
        L, R = _factors(op, *params)
        if batch is None:
            return jnp.mean((op(L @ R.T) - b) ** 2)
        # The indices are clipped as `subset` does, so that each A_i keeps its own b_i.
        target = b[jnp.clip(jnp.asarray(batch), 0, op.m - 1)]
        return jnp.mean((op.subset(batch)(L @ R.T) - target) ** 2)

    return loss


def block_traces(op, L, R):
    """Traces of the L block and of the R block of the Hessian of `factor_loss`.

    They are 2 d1 |D2 R|_F^2 and 2 d2 |D1 L|_F^2 for L (d1, k) and R (d2, k), at every point and not
    only where the loss is zero.

    Source: Ding et al. (2024), Lemmas 2.1 and 3.1.
    """
    L, R = _factors(op, L, R)
    row_gram, column_gram = op.squared_rescaling()
    d1, d2 = op.shape
    return 2 * d1 * jnp.vdot(R, column_gram @ R), 2 * d2 * jnp.vdot(L, row_gram @ L)


def scaled_trace(op, L, R):
    """The scaled trace of the Hessian of `factor_loss`, 2|D1 L|_F^2 + 2|D2 R|_F^2.

    The trace of the L block (d1, k) divided by d1 plus that of the R block (d2, k) divided by d2.
    Valid at every point.

    Source: Ding et al. (2024), Section 3.
    """
    left, right = block_traces(op, L, R)
    return left / op.shape[0] + right / op.shape[1]


def hessian_trace(loss, params, method="exact", *, key=None, products=64):
    """Trace of the Hessian of a loss, exact or estimated from Hessian-vector products.

    Parameters
    ----------
    loss : function of params with a scalar value, twice differentiable
    params : pytree of float64 arrays with n numbers in total
    method : "exact" takes n products, one for each parameter, 64 of them in memory at a time;
        "hutchinson" averages v^T H v over random signs v, one product for each of them;
        "xtrace" spends half of the products on finding the range of H, where it is exact, and
        uses each of its probes for the remainder too (Epperly, Tropp, Webber 2024)
    key : random key, needed by the two estimators
    products : budget of the estimators, the number of Hessian-vector products. With
        "xtrace" an odd one is left over, and from n products on the exact trace is returned.

    Returns
    -------
    Scalar. Both estimators are unbiased. XTrace is exact when the rank of H is below products/2,
    and far more accurate than Hutchinson when the eigenvalues decay.

    Notes
    -----
    All three can be differentiated, as a penalty. With a fixed key the derivative of "hutchinson"
    is that of the value. "xtrace" has none where the rank of H is below products/2, so its
    derivative is set to that of Hutchinson's estimate on its products/2 probes: unbiased, but
    noisier than the value, and not what a line search expects.

    Outside `jit` every call compiles anew: compile once, as in
    ``jax.jit(lambda params: fl.hessian_trace(loss, params))``. Over hundreds of keys use
    ``jax.lax.map``, not ``vmap``: XLA can deadlock in XTrace's batched factorisations on a CPU.

    Raises
    ------
    ValueError for an unknown method, a missing key, a budget below one product (two for "xtrace")
    or a loss that is not scalar; TypeError for parameters that are not float64.
    """
    if method not in ("exact", "hutchinson", "xtrace"):
        raise ValueError(f"`method` must be 'exact', 'hutchinson' or 'xtrace', but is {method!r}.")
    flat, product = _hessian_product(loss, params)
    products = positive_integer("products", products, minimum=1 + (method == "xtrace"))
    if method != "exact" and key is None:
        raise ValueError(f"`key` is needed by {method!r}: pass key=jax.random.key(0), say.")
    if method == "exact" or (method == "xtrace" and products >= flat.size):
        return jax.jit(functools.partial(_exact_trace, product))(flat)
    estimate = _hutchinson if method == "hutchinson" else _xtrace
    return jax.jit(functools.partial(estimate, product, products))(flat, require_key(key))


def top_eigenvalue(loss, params, *, key, tolerance=1e-8, restarts=100):
    """The largest eigenvalue of the Hessian of a loss: the algebraically largest, with its sign.

    Up to 256 parameters the Hessian is formed. Beyond, Lanczos with restarts of 64 products runs
    until |H v - lambda v| <= tolerance |H|, where |H| is estimated from the tridiagonal matrix.
    The residual proves that an eigenvalue lies that close; that it is the largest one holds with
    probability one over the random start, not with certainty.

    Parameters
    ----------
    loss : function of params with a scalar value, twice differentiable
    params : pytree of float64 arrays
    key : random key of the starting vector
    tolerance, restarts : bound on the relative residual, and how often Lanczos may restart

    Returns
    -------
    Scalar; its derivative with respect to params is right wherever the eigenvalue is simple.

    Raises
    ------
    RuntimeError if Lanczos has not converged (inside `jit` and `vmap` the value is NaN instead);
    ValueError for a loss that is not scalar; TypeError for parameters that are not float64.
    """
    flat, product = _hessian_product(loss, params)
    require_key(key)
    find = _top_dense if flat.size <= _DENSE else _top_lanczos
    restarts = positive_integer("restarts", restarts)

    @jax.jit
    def run(x):
        fixed = jax.lax.stop_gradient(x)
        vector, converged = find(lambda v: product(fixed, v), x.size, key, tolerance, restarts)
        vector = jax.lax.stop_gradient(vector)
        value = jnp.vdot(vector, product(x, vector))  # its derivative is v^T H' v, as it should be
        return jnp.where(converged, value, jnp.nan), converged

    value, converged = run(flat)
    if not is_traced(converged) and not bool(converged):
        raise RuntimeError(
            f"Lanczos has not reached the residual {tolerance:g} in {restarts} restarts: raise "
            "`restarts` or `tolerance`, or look for NaN in the Hessian."
        )
    return value


def _factors(op, L, R):
    check_map(op)
    d1, d2 = op.shape
    L, R = as_float64("L", L, ndim=2), as_float64("R", R, ndim=2)
    if L.shape[0] != d1 or R.shape[0] != d2 or L.shape[1] != R.shape[1]:
        raise ValueError(
            f"`L` and `R` must have shapes ({d1}, k) and ({d2}, k) with one k, but have "
            f"{L.shape} and {R.shape}."
        )
    return L, R


def _hessian_product(loss, params):
    """The parameters as a vector x (n,), and the function (x, v) -> H(x) v."""
    params = jax.tree.map(lambda leaf: as_float64("params", leaf), params)
    flat, unravel = ravel_pytree(params)
    value = jax.eval_shape(loss, params)
    if getattr(value, "shape", None) != ():
        raise ValueError(f"`loss` must return a scalar, but returns {value}.")
    gradient = jax.grad(lambda x: loss(unravel(x)))
    return flat, lambda x, v: jax.jvp(gradient, (x,), (v,))[1]


def _exact_trace(product, x):
    def diagonal(i):
        return product(x, jnp.zeros_like(x).at[i].set(1.0))[i]

    return jnp.sum(jax.lax.map(diagonal, jnp.arange(x.size), batch_size=_CHUNK))


def _hutchinson(product, products, x, key):
    from matfree import stochtrace

    sampler = stochtrace.sampler_signs(x, num=products)
    estimate = stochtrace.estimator_monte_carlo(stochtrace.monte_carlo_trace(), sampler)
    return estimate(lambda v: product(x, v), key)


def _xtrace(product, products, x, key):
    from matfree import stochtrace

    probes = stochtrace.sampler_sphere(x, num=products // 2)(key)
    value = jnp.mean(stochtrace.leave_one_out_xtrace()(lambda v: product(x, v), probes))
    images = jax.vmap(lambda v: product(x, v), in_axes=-1, out_axes=-1)(probes.T)
    rough = jnp.vdot(probes.T, images) / len(probes)
    # The value of XTrace, the derivative of Hutchinson. The images are those that XTrace begins
    # with, written in the same way, so that the compiler computes them once.
    return rough + jax.lax.stop_gradient(value - rough)


def _top_dense(product, size, key, tolerance, restarts):
    hessian = jax.vmap(product)(jnp.eye(size))
    return jnp.linalg.eigh((hessian + hessian.T) / 2)[1][:, -1], jnp.all(jnp.isfinite(hessian))


def _top_lanczos(product, size, key, tolerance, restarts):
    from matfree import decomp

    tridiagonalise = decomp.tridiag_sym(_KRYLOV, materialize=False, custom_vjp=False)

    def ritz(start):
        basis, (diagonal, off), *_ = tridiagonalise(product, start)
        # Once the Krylov space is exhausted (few distinct eigenvalues) the basis is noise or NaN.
        # What comes before spans an invariant subspace: keep that, move the rest below it.
        scale = jnp.max(jnp.nan_to_num(jnp.abs(jnp.concatenate([diagonal, off]))))
        alive = jnp.append(True, jnp.cumprod(off > 1e-12 * scale).astype(bool))
        diagonal = jnp.where(alive, diagonal, -4.0 * scale - 1.0)
        off = jnp.where(alive[1:], off, 0.0)
        T = jnp.diag(diagonal) + jnp.diag(off, 1) + jnp.diag(off, -1)
        vector = jnp.linalg.eigh(T)[1][:, -1] @ jnp.where(alive[:, None], basis, 0.0)
        image = product(vector)
        residual = jnp.linalg.norm(image - jnp.vdot(vector, image) * vector)
        return vector / jnp.linalg.norm(vector), residual <= tolerance * scale

    def unfinished(state):
        vector, converged, count = state
        return ~converged & (count < restarts) & jnp.all(jnp.isfinite(vector))

    start = jax.random.normal(key, (size,), jnp.float64)
    state = jax.lax.while_loop(unfinished, lambda s: (*ritz(s[0]), s[2] + 1), (*ritz(start), 0))
    return state[:2]
