"""Training: a scanned loop around any optax optimiser, with explicit keys and a status.

What makes one algorithm differ from another is an argument here: a loss(params, batch, key) that
may draw its own noise, and an optax gradient transformation, such as those of `optimizers`.
"""

import dataclasses
import enum
import functools
import inspect
import sys

import jax
import jax.numpy as jnp
import numpy as np

from flatlib._inputs import as_float64, is_traced, positive_integer, require_key

_DELAY = 2.0  # seconds before a progress bar appears


class TrainingStatus(enum.IntEnum):
    """Outcome of a training run, an integer so that it can leave `jit` and `vmap`."""

    FINISHED = 0
    DIVERGED = 1


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params", "steps", "metrics", "snapshots", "status", "finite_steps"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True, repr=False)
class Trajectory:
    """What a training run leaves behind.

    Attributes
    ----------
    params : the parameters after the last step
    steps : (n,) the recorded steps 0, every, 2 every, ...
    metrics : dict name -> (n, ...) the recorded functions of the parameters at these steps
    snapshots : the parameters at these steps, with a leading axis n, or None if not asked for
    status : integer code of `TrainingStatus`; DIVERGED once a loss or parameter is not finite
    finite_steps : the number of steps before the first non-finite value
    """

    params: object
    steps: jax.Array
    metrics: dict
    snapshots: object
    status: jax.Array
    finite_steps: jax.Array

    @property
    def status_name(self):
        """The status in words; a list for a batch of runs. Not available inside a trace."""
        return jax.tree.map(
            lambda code: TrainingStatus(code).name.lower(), np.asarray(self.status).tolist()
        )

    @property
    def diverged(self):
        """Whether a loss or a parameter became NaN or infinite; a boolean array inside a trace."""
        return self.status == TrainingStatus.DIVERGED

    def __repr__(self):
        status = "traced" if is_traced(self.status) else self.status_name
        return f"Trajectory({status}, metrics={list(self.metrics)})"


def minibatches(m, size):
    """A sampler of minibatches: key -> (size,) distinct indices out of 0, ..., m-1, uniform."""
    m, size = positive_integer("m", m), positive_integer("size", size)
    if size > m:
        raise ValueError(f"`size` is at most m = {m}, but is {size}.")
    return lambda key: jax.random.choice(key, m, (size,), replace=False)


def train(
    loss, params, optimizer, *, steps, key, batch=None, record=None, every=1, snapshots=False
):
    """Run an optax optimiser for a fixed number of steps and record functions of the parameters.

    Parameters
    ----------
    loss : loss(params, batch, key) -> scalar, or loss(params) where nothing is sampled
    params : pytree of float64 arrays
    optimizer : optax gradient transformation. It receives `value`, `grad` and `value_fn` of the
        step's loss as extra arguments, so that line searches such as `optax.lbfgs` work, and the
        step's `batch` and a `key` of its own, for transformations such as `label_noise`
    steps : number of steps
    key : random key; step t uses `jax.random.fold_in(key, t)`, so runs are reproducible
    batch : None, or a function key -> batch such as `minibatches(m, size)`, called at every step
    record : dict name -> function of params, evaluated before the first step and then every
        `every` steps
    every : steps between two records; it must divide `steps`
    snapshots : whether to keep the parameters at the recorded steps too

    Returns
    -------
    Trajectory. A run whose loss or parameters become NaN or infinite has the status DIVERGED
    (`trajectory.diverged`); its records show where. The call can be vmapped, over keys for example.

    Raises
    ------
    ValueError, TypeError for `every` that does not divide `steps`, parameters that are not float64,
    a loss with other arguments or a value that is not scalar.
    """
    import optax

    params = jax.tree.map(lambda leaf: as_float64("params", leaf), params)
    steps, every = positive_integer("steps", steps), positive_integer("every", every)
    if steps % every:
        raise ValueError(f"`every` must divide `steps`, but {every} does not divide {steps}.")
    require_key(key)
    if not hasattr(optimizer, "update"):
        raise TypeError("`optimizer` must be an optax transformation, such as optax.sgd(0.1).")
    if batch is not None and not callable(batch):
        raise TypeError("`batch` must be a function key -> batch, such as `minibatches(m, size)`.")
    record = {} if record is None else record
    if not isinstance(record, dict):
        raise TypeError("`record` must be a dict from names to functions of the parameters.")
    loss = _three_arguments(loss, batch)
    optimizer = optax.with_extra_args_support(optimizer)

    def step(state, t):
        params, memory, finite_steps = state
        batch_key, loss_key, own_key = jax.random.split(jax.random.fold_in(key, t), 3)
        seen = None if batch is None else batch(batch_key)

        def objective(params, batch=None, key=None):
            # A line search of optax hands every extra argument on to the function that it searches:
            # `batch` and `key` are accepted for that, and are those of the step in any case.
            return loss(params, seen, loss_key)

        shape = getattr(jax.eval_shape(objective, params), "shape", None)
        if shape != ():
            raise ValueError(f"`loss` must return a scalar, but returns an array of shape {shape}.")
        value, gradient = jax.value_and_grad(objective)(params)
        extra = {"value": value, "grad": gradient, "value_fn": objective}
        extra |= {"batch": seen, "key": own_key}
        updates, memory = optimizer.update(gradient, memory, params, **extra)
        params = optax.apply_updates(params, updates)
        alive = (finite_steps == t) & jnp.isfinite(value) & _all_finite(params)
        return (params, memory, finite_steps + alive), None

    def observe(params):
        return {name: f(params) for name, f in record.items()}, params if snapshots else None

    def chunk(state, start):
        state, _ = jax.lax.scan(step, state, start + jnp.arange(every))
        return state, observe(state[0])

    starts = every * jnp.arange(steps // every)
    initial = (params, optimizer.init(params), jnp.asarray(0))
    state, records = _scan_with_progress(chunk, initial, starts, every, is_traced(initial, key))
    params, _, finite_steps = state
    first = jax.jit(observe)(initial[0])
    metrics, kept = jax.tree.map(lambda a, rest: jnp.append(a[None], rest, 0), first, records)
    finished, diverged = TrainingStatus.FINISHED.value, TrainingStatus.DIVERGED.value
    status = jnp.where(finite_steps == steps, finished, diverged)
    recorded = jnp.concatenate([starts, jnp.asarray([steps])])
    return Trajectory(params, recorded, metrics, kept, status, finite_steps)


def _three_arguments(loss, batch):
    """The loss as a function of (params, batch, key), or an error that says what is missing."""
    signature = inspect.signature(loss)
    try:
        signature.bind(None, None, None)
        return loss
    except TypeError:
        pass
    try:
        signature.bind(None)
    except TypeError:
        batch = ...
    if batch is not None:
        raise TypeError(
            f"`loss` must accept (params, batch, key), but its signature is {signature}. Only "
            "without `batch` may it be a function of params alone."
        )
    return lambda params, batch, key: loss(params)


def _all_finite(tree):
    return jnp.all(jnp.asarray([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _scan_with_progress(body, state, xs, unit, traced):
    """`lax.scan`, outside a trace in up to twenty equal calls with a progress bar.

    The bar appears after two seconds, on a terminal only: in a notebook it would be stored.
    """
    run = jax.jit(lambda state, xs: jax.lax.scan(body, state, xs))
    pieces = next((n for n in range(20, 1, -1) if len(xs) % n == 0), 1)
    if traced or pieces == 1:
        return run(state, xs)
    from tqdm import tqdm

    outputs = []
    hide = True if "ipykernel" in sys.modules else None  # None: hide unless stderr is a terminal
    with tqdm(total=len(xs) * unit, unit="step", delay=_DELAY, disable=hide, leave=False) as bar:
        for part in xs.reshape(pieces, -1):
            state, output = run(state, part)
            outputs.append(jax.block_until_ready(output))
            bar.update(len(part) * unit)
    return state, jax.tree.map(lambda *parts: jnp.concatenate(parts), *outputs)
