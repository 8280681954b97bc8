"""Checks of arguments, shared by the public functions.

Shapes and dtypes are always checked. Values (finiteness, consistency) can be checked only outside
`jit` and `vmap`: inside a trace an array has no value yet, and the outcome travels as a status.
"""

import operator

import jax
import jax.numpy as jnp
import numpy as np

FLOAT64_REMEDY = (
    "turn on double precision before creating arrays: jax.config.update('jax_enable_x64', True)"
)


def is_traced(*values):
    """Whether any of the values is a tracer, so that its numbers cannot be read."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def require_float64(name):
    """Raise an error that names the argument or function if JAX is in float32 mode."""
    if not jax.config.jax_enable_x64:
        raise TypeError(f"`{name}` needs float64, and JAX is in float32 mode: {FLOAT64_REMEDY}.")


def as_float64(name, value, ndim=None, shape=None):
    """Return `value` as a float64 array, or raise an error that names the argument.

    Integers and Python numbers are converted; float32 is refused, because recovery is judged at
    an accuracy (1e-6) that float32 cannot reach.
    """
    require_float64(name)
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise TypeError(f"`{name}` must be an array of numbers, but is of type {kind}.") from None
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"`{name}` must be real, but its dtype is {array.dtype}.")
    if array.dtype in (jnp.float32, jnp.float16, jnp.bfloat16):
        raise TypeError(f"`{name}` must be float64, but is {array.dtype}: {FLOAT64_REMEDY}.")
    array = array.astype(jnp.float64)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"`{name}` must have {ndim} axes, but has shape {array.shape}.")
    if shape is not None and array.shape != tuple(shape):
        raise ValueError(f"`{name}` must have shape {tuple(shape)}, but has shape {array.shape}.")
    if not is_traced(array) and not np.isfinite(array).all():
        raise ValueError(f"`{name}` has NaN or infinite entries: remove or replace them first.")
    return array


def require_key(key):
    """Raise an error unless `key` is a random key of JAX."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32):
        raise TypeError(f"`key` must be a random key such as jax.random.key(0), but is {key!r}.")
    return key


@jax.custom_jvp
def no_derivative(arrays):
    """The same arrays; differentiating through them is an error instead of a wrong number."""
    return arrays


@no_derivative.defjvp
def _no_derivative_jvp(primals, tangents):
    raise TypeError(
        "Solvers and certificates have no derivative: use jax.lax.stop_gradient on their arguments."
    )


def positive_integer(name, value, minimum=1):
    """Return `value` as an int of at least `minimum`, or raise an error naming the argument."""
    if is_traced(value):
        raise TypeError(
            f"`{name}` sets a shape and must be concrete: pass it as a static argument."
        )
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < minimum:
        raise ValueError(f"`{name}` must be an integer of at least {minimum}, but is {value!r}.")
    return number
