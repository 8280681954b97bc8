r"""Algorithms that seek flat minima, as gradient transformations for optax.

Each of them adds to the gradient of a step what its algorithm adds, so they stand before an
optimiser, in any order, and work for any loss of any pytree of parameters:

    optimizer = optax.chain(fl.sam(0.05), optax.sgd(0.01))
    fl.train(loss, params, optimizer, steps=1000, key=key, batch=fl.minibatches(m, 1))

`fl.train` hands them what they need. In a loop of your own, pass it on as optax does for its line
searches: ``optimizer.update(g, state, params, grad=g, value_fn=loss_of_this_step, key=key)``.

Every strength is a number, or an optax schedule step -> number, with which one anneals. Where the
training loss is zero they prefer, to leading order, a small

    trace of the Hessian     `trace_penalty`, `weight_noise`, `label_noise`; `sam` on single samples
    largest eigenvalue       `sam` on the full batch

Sources: Foret, Kleiner, Mobahi, Neyshabur (2021) for `sam`; Blanc, Gupta, Valiant, Valiant (2020)
and Damian, Ma, Lee (2021) for `label_noise`; Wen, Ma, Li (2023) for what `sam` prefers.
"""

import typing

import jax
import jax.numpy as jnp
import numpy as np

from flatlib._inputs import is_traced, positive_integer, require_key
from flatlib.flatness import hessian_trace

# Two transformations in one chain get the same key: these numbers make their draws independent.
_WEIGHTS, _LABELS, _PROBES = 1, 2, 3


class StepCount(typing.NamedTuple):
    """The state of every transformation of this module: the number of steps taken."""

    count: jax.Array


def sam(radius):
    """Sharpness-aware minimisation: the gradient at params + radius g/|g| instead of g.

    g is the gradient of the step's own batch and key, and so is the second gradient. On the full
    batch SAM lowers the largest eigenvalue of the Hessian; on batches of one sample (1-SAM,
    ``batch=fl.minibatches(m, 1)``) it lowers the trace. Where g = 0 nothing is added.

    Parameters
    ----------
    radius : length of the ascent step, a number >= 0 or an optax schedule

    Returns
    -------
    optax gradient transformation. Its update needs `params`, `grad` and `value_fn`.

    Raises
    ------
    ValueError for a negative radius or, in the update, missing `params`; TypeError for a missing
    `grad` or `value_fn`.

    Source: Foret, Kleiner, Mobahi, Neyshabur (2021).
    """

    import optax

    def correction(radius, params, grad, value_fn):
        size = optax.tree.norm(grad)
        return _change(value_fn, params, radius / jnp.where(size > 0, size, 1.0), grad, grad)

    return _transformation("sam", "radius", radius, correction, ("grad", "value_fn"))


def weight_noise(std):
    """Weight noise: the gradient at params + std N(0, I) instead of params, fresh at every step.

    It is the gradient of a random sample of the smoothed loss E f(params + std N(0, I)), which is
    f + (std^2/2) tr(Hessian) to second order in std.

    Parameters
    ----------
    std : standard deviation of the noise on every parameter, a number >= 0 or an optax schedule

    Returns
    -------
    optax gradient transformation. Its update needs `params`, `grad`, `value_fn` and `key`.

    Raises
    ------
    ValueError for a negative std or, in the update, missing `params`; TypeError for a missing
    `grad`, `value_fn` or `key`.
    """

    import optax

    def correction(std, params, grad, value_fn, key):
        key = jax.random.fold_in(require_key(key), _WEIGHTS)
        noise = optax.tree.random_like(key, params, jax.random.normal)
        return _change(value_fn, params, std, noise, grad)

    return _transformation("weight_noise", "std", std, correction, ("grad", "value_fn", "key"))


def label_noise(std, predict):
    """Label noise: at every step fresh noise N(0, std^2) is added to the labels of the batch.

    For the mean squared error mean((predict(params, batch) - labels)^2) over all B predictions of
    the batch. Noise e on the labels adds -(2/B) J^T e to the gradient, with J the Jacobian of the
    predictions; the labels themselves are not needed.

    Parameters
    ----------
    std : standard deviation of the noise, a number >= 0 or an optax schedule
    predict : predict(params, batch) -> array of predictions; `batch` is None on the full batch

    Returns
    -------
    optax gradient transformation. Its update needs `params` and `key`, and passes on `batch`.

    Raises
    ------
    ValueError for a negative std or, in the update, missing `params`; TypeError for a missing `key`
    or a `predict` that is no function of (params, batch).

    Source: Blanc, Gupta, Valiant, Valiant (2020); Damian, Ma, Lee (2021).
    """
    if not callable(predict):
        raise TypeError("`predict` must be a function (params, batch) -> predictions.")

    def correction(std, params, key, batch=None):
        predictions, pullback = jax.vjp(lambda params: predict(params, batch), params)
        key = jax.random.fold_in(require_key(key), _LABELS)
        noise = std * jax.random.normal(key, predictions.shape, predictions.dtype)
        return pullback(-2.0 / predictions.size * noise)[0]

    return _transformation("label_noise", "std", std, correction, ("key",), ("batch",))


def trace_penalty(strength, trace=None, *, products=1):
    """The penalty strength * tr(Hessian), added to the loss through its gradient.

    Parameters
    ----------
    strength : weight of the penalty, a number >= 0 or an optax schedule
    trace : function of params with the trace in closed form, such as ``lambda params:
        fl.scaled_trace(op, *params)``. None: Hutchinson's estimate for the step's own loss, with
        fresh random signs at every step, unbiased with one product
    products : Hessian-vector products for each estimate

    Returns
    -------
    optax gradient transformation. Its update needs `params`; without `trace` also `value_fn` and
    `key`.

    Raises
    ------
    ValueError for a negative strength, `products` below one or, in the update, missing `params`;
    TypeError for a missing `value_fn` or `key`, or a `trace` that is no function.
    """
    products = positive_integer("products", products)
    if trace is not None and not callable(trace):
        raise TypeError("`trace` must be a function of the parameters, or None for an estimate.")

    def correction(strength, params, value_fn=None, key=None):
        def penalty(params):
            if trace is not None:
                return strength * trace(params)
            probes = jax.random.fold_in(require_key(key), _PROBES)
            options = {"key": probes, "products": products}
            return strength * hessian_trace(value_fn, params, "hutchinson", **options)

        return jax.grad(penalty)(params)

    needs = ("value_fn", "key") if trace is None else ()
    return _transformation("trace_penalty", "strength", strength, correction, needs)


def _transformation(name, argument, strength, correction, needs, accepts=()):
    """The transformation updates -> updates + correction(strength now, params, ...).

    `needs` and `accepts` name the extra arguments of the update that are passed to `correction`.
    """
    import optax

    if not callable(strength) and not is_traced(strength):
        number = np.asarray(strength)
        if number.shape != () or number.dtype.kind not in "fiu" or not 0 <= number < np.inf:
            raise ValueError(
                f"`{argument}` must be a number >= 0 or an optax schedule, but is {strength!r}."
            )

    def init(params):
        return StepCount(jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, **extra):
        if params is None:
            raise ValueError(f"`{name}` needs `params`: call update(updates, state, params, ...).")
        missing = [key for key in needs if extra.get(key) is None]
        if missing:
            raise TypeError(
                f"`{name}` needs {' and '.join(f'`{key}`' for key in missing)}: train with "
                "`fl.train`, or pass them to the optimiser's update as keyword arguments."
            )
        now = strength(state.count) if callable(strength) else strength
        given = {key: extra[key] for key in (*needs, *accepts) if key in extra}
        added = correction(now, params, **given)
        return optax.tree.add(updates, added), StepCount(state.count + 1)

    return optax.GradientTransformationExtraArgs(init, update)


def _change(value_fn, params, length, direction, grad):
    """The gradient at params + length * direction, less the gradient at params."""
    import optax

    there = jax.grad(value_fn)(optax.tree.add_scale(params, length, direction))
    return optax.tree.sub(there, grad)
