"""The transformations that seek flat minima, on problems that have no factors in them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import flatlib as fl

KEY = jax.random.key(0)
INPUTS = jax.random.normal(jax.random.key(1), (20, 3))
LABELS = jnp.sin(INPUTS @ jnp.array([1.0, -1.0, 0.5]))


def network(params, batch=None):
    """A small tanh network with a nested pytree of parameters."""
    inputs = INPUTS if batch is None else INPUTS[batch]
    hidden = jnp.tanh(inputs @ params["first"]["w"] + params["first"]["b"])
    return hidden @ params["second"]


PARAMS = {
    "first": {
        "w": jax.random.normal(jax.random.key(2), (3, 4)),
        "b": 0.1 * jax.random.normal(jax.random.key(3), (4,)),
    },
    "second": jax.random.normal(jax.random.key(4), (4,)),
}


def loss(params, batch=None, key=None):
    labels = LABELS if batch is None else LABELS[batch]
    return jnp.mean((network(params, batch) - labels) ** 2)


def norm(tree):
    return jnp.linalg.norm(ravel_pytree(tree)[0])


def added(transformation, key=KEY, batch=None, params=PARAMS, step=0, loss=loss):
    """What the transformation adds to the gradient in one step."""

    def value_fn(params):
        return loss(params, batch)

    grad = jax.grad(value_fn)(params)
    state = jax.tree.map(lambda count: count + step, transformation.init(params))
    updates, _ = transformation.update(
        grad, state, params, grad=grad, value_fn=value_fn, key=key, batch=batch
    )
    return jax.tree.map(jnp.subtract, updates, grad)


def assert_close(first, second, **tolerance):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def mean_and_error(draw, count, key=KEY):
    """The mean of draw(key) over many keys, and the standard error of every entry."""
    draws = jax.lax.map(draw, jax.random.split(key, count))
    scale = 1 / np.sqrt(count)
    return (
        jax.tree.map(lambda x: jnp.mean(x, 0), draws),
        jax.tree.map(lambda x: scale * jnp.std(x, 0), draws),
    )


def assert_within(mean, error, wanted, factor=5.0):
    jax.tree.map(
        lambda a, e, b: np.testing.assert_array_less(jnp.abs(a - b), factor * e + 1e-12),
        mean,
        error,
        wanted,
    )


# ------------------------------------------------------------------ SAM


def test_sam_agrees_with_optax():
    """optax.contrib.sam in opaque mode takes the same steps where the gradient is not zero."""
    radius, eta = 0.05, 0.1
    reference = optax.contrib.sam(
        optax.sgd(eta),
        optax.chain(optax.contrib.normalize(), optax.sgd(radius)),
        sync_period=2,
        opaque_mode=True,
    )
    params, state = PARAMS, reference.init(PARAMS)
    for _ in range(5):
        updates, state = reference.update(
            jax.grad(loss)(params), state, params, grad_fn=lambda p, _: jax.grad(loss)(p)
        )
        params = optax.apply_updates(params, updates)
    ours = optax.chain(fl.sam(radius), optax.sgd(eta))
    run = fl.train(loss, PARAMS, ours, steps=5, key=KEY)
    assert_close(run.params, params, rtol=1e-10, atol=1e-13)


def test_sam_climbs_on_the_sample_of_the_step():
    """Both gradients see the same batch: the step is that of the loss of this batch alone."""
    radius, eta, batch = 0.3, 0.1, fl.minibatches(20, 1)
    optimizer = optax.chain(fl.sam(radius), optax.sgd(eta))
    run = fl.train(loss, PARAMS, optimizer, steps=1, key=KEY, batch=batch)
    batch_key = jax.random.split(jax.random.fold_in(KEY, 0))[0]
    seen = batch(batch_key)
    grad = jax.grad(loss)(PARAMS, seen)
    up = jax.tree.map(lambda p, g: p + radius * g / norm(grad), PARAMS, grad)
    down = jax.grad(loss)(up, seen)
    wanted = jax.tree.map(lambda p, g: p - eta * g, PARAMS, down)
    assert_close(run.params, wanted, rtol=1e-11, atol=1e-14)


def test_sam_adds_nothing_where_the_gradient_is_zero():
    def flat(params):
        return jnp.sum(params["x"] ** 4)

    start = {"x": jnp.zeros(3)}
    run = fl.train(flat, start, optax.chain(fl.sam(0.1), optax.sgd(0.1)), steps=3, key=KEY)
    assert run.status_name == "finished" and not jnp.any(run.params["x"])


def corrections_of_sam(residuals, radius, batch=None):
    """The mean of what SAM adds for labels network(PARAMS) + residuals and - residuals."""

    def one(sign):
        labels = network(PARAMS) + sign * residuals

        def shifted(params, batch):
            seen = labels if batch is None else labels[batch]
            return jnp.mean((network(params, batch) - seen) ** 2)

        return added(fl.sam(radius), batch=batch, loss=shifted)

    return jax.tree.map(lambda a, b: (a + b) / 2, one(1.0), one(-1.0))


def zero_loss(params, batch=None):
    return jnp.mean((network(params, batch) - network(PARAMS, batch)) ** 2)


def test_sam_on_single_samples_descends_on_the_trace():
    """Near zero loss its mean correction along the solution set is that of (radius^2/2) tr H.

    Eight samples and twenty parameters: the solution set has twelve directions.
    """
    radius, few = 1e-3, jnp.arange(8)
    single = [corrections_of_sam(jnp.full(20, 1e-7), radius, jnp.array([i])) for i in few]
    mean = ravel_pytree(jax.tree.map(lambda *draws: sum(draws) / 8, *single))[0]

    def penalty(params):
        return 0.5 * radius**2 * fl.hessian_trace(lambda p: zero_loss(p, few), params)

    wanted = ravel_pytree(jax.grad(penalty)(PARAMS))[0]
    flat, unravel = ravel_pytree(PARAMS)
    J = jax.jacobian(lambda x: network(unravel(x), few))(flat)
    along = jnp.linalg.svd(J)[2][8:]
    error = norm(along @ (mean - wanted))
    assert error < 1e-2 * norm(along @ wanted) and norm(along @ wanted) > 0.1 * norm(wanted)


def test_sam_on_the_full_batch_descends_on_the_top_eigenvalue():
    """Near zero loss, once the gradient has turned to the top eigenvector of the Hessian."""
    radius = 1e-3
    flat, unravel = ravel_pytree(PARAMS)
    J = jax.jacobian(lambda x: network(unravel(x)))(flat)
    residuals = 1e-7 * jnp.linalg.svd(J)[0][:, 0]
    wanted = jax.grad(lambda p: 0.5 * radius**2 * fl.top_eigenvalue(zero_loss, p, key=KEY))(PARAMS)
    assert_close(corrections_of_sam(residuals, radius), wanted, rtol=0, atol=1e-2 * norm(wanted))


# ------------------------------------------------------------------ weight noise


def test_weight_noise_samples_the_gradient_of_the_smoothed_loss():
    """For a quadratic loss smoothing adds a constant: the mean correction is zero, its covariance
    is std^2 H^2. For a quartic one it is the gradient of the trace, to all orders in std."""
    std = 0.2
    H = jnp.array([[2.0, 0.5], [0.5, 1.0]])

    def correction(f, x):
        def draw(key):
            updates, _ = tx.update(grad, tx.init(x), x, grad=grad, value_fn=f, key=key)
            return updates - grad

        tx, grad = fl.weight_noise(std), jax.grad(f)(x)
        return jax.lax.map(draw, jax.random.split(KEY, 20000))

    x = jnp.array([0.7, -0.3])
    draws = correction(lambda x: 0.5 * x @ H @ x, x)
    covariance = std**2 * H @ H
    np.testing.assert_allclose(jnp.mean(draws, 0), 0.0, atol=5 * std * 2.2 / np.sqrt(20000))
    np.testing.assert_allclose(jnp.cov(draws.T), covariance, rtol=0.1)
    draws = correction(lambda x: jnp.sum(x**4), x)
    error = jnp.std(draws, 0) / np.sqrt(20000)
    wanted = 0.5 * std**2 * 24 * x  # the gradient of (std^2/2) tr H with H = diag(12 x^2)
    np.testing.assert_array_less(jnp.abs(jnp.mean(draws, 0) - wanted), 5 * error)
    assert jnp.all(jnp.abs(wanted) > 8 * error)


def test_weight_noise_is_fresh_and_differs_between_leaves():
    first, second = added(fl.weight_noise(0.1)), added(fl.weight_noise(0.1), jax.random.key(9))
    assert not jnp.allclose(first["second"], second["second"])

    def linear(params):
        return jnp.sum(params["a"] ** 2 + params["b"] ** 2) / 2

    params = {"a": jnp.zeros(5), "b": jnp.zeros(5)}
    tx = fl.weight_noise(1.0)
    noise, _ = tx.update(params, tx.init(params), params, grad=params, value_fn=linear, key=KEY)
    assert jnp.min(jnp.abs(noise["a"] - noise["b"])) > 1e-3


# ------------------------------------------------------------------ label noise


@pytest.mark.parametrize("batch", [None, jnp.array([3, 11, 4, 7])])
def test_label_noise_is_the_gradient_of_a_loss_with_noisy_labels(batch):
    """Mean zero, and the covariance (4 std^2 / B^2) J^T J, entry by entry."""
    std, size = 0.3, 20 if batch is None else 4
    tx = fl.label_noise(std, network)
    draws = jax.lax.map(lambda key: added(tx, key, batch)["second"], jax.random.split(KEY, 20000))
    J = jax.jacobian(network)(PARAMS, batch)["second"]
    covariance = 4 * std**2 / size**2 * J.T @ J
    scale = jnp.sqrt(jnp.diag(covariance))
    np.testing.assert_array_less(jnp.abs(jnp.mean(draws, 0)), 5 * scale / np.sqrt(20000))
    correlation = (jnp.cov(draws.T) - covariance) / (scale[:, None] * scale)
    np.testing.assert_allclose(correlation, 0.0, atol=0.05)


def test_train_gives_label_noise_the_batch_and_a_key_of_the_step():
    batch, seen, draws = fl.minibatches(20, 4), [], []

    def predict(params, batch):
        jax.debug.callback(lambda batch: seen.append(batch), batch)
        return network(params, batch)

    optimizer = optax.chain(fl.label_noise(0.1, predict), optax.sgd(0.01))
    run = fl.train(loss, PARAMS, optimizer, steps=2, key=KEY, batch=batch, snapshots=True)
    jax.effects_barrier()
    for t in range(2):
        batch_key, _, own_key = jax.random.split(jax.random.fold_in(KEY, t), 3)
        np.testing.assert_array_equal(seen[t], batch(batch_key))
        params = jax.tree.map(lambda leaf, t=t: leaf[t], run.snapshots)
        grad = jax.grad(loss)(params, batch(batch_key))
        noise = added(fl.label_noise(0.1, network), own_key, batch(batch_key), params)
        step = jax.tree.map(lambda g, n: -0.01 * (g + n), grad, noise)
        after = jax.tree.map(lambda leaf, t=t: leaf[t + 1], run.snapshots)
        assert_close(after, jax.tree.map(jnp.add, params, step), rtol=1e-9, atol=1e-14)
        draws.append(noise["second"])
    assert not jnp.allclose(*draws)


def test_label_noise_averages_over_all_predictions_of_several_outputs():
    def outputs(params, batch):
        return jnp.stack([network(params), 2 * network(params)], axis=1)  # (20, 2)

    tx, key = fl.label_noise(0.1, outputs), jax.random.key(5)
    noise = 0.1 * jax.random.normal(jax.random.fold_in(key, 2), (20, 2))

    def noisy(params):
        return jnp.mean((outputs(params, None) - noise) ** 2) - jnp.mean(outputs(params, None) ** 2)

    assert_close(added(tx, key), jax.grad(noisy)(PARAMS), rtol=1e-9, atol=1e-14)


def test_label_noise_rolls_to_the_flattest_point_of_the_hyperbola():
    """l r = 1 from the sharp point (4, 1/4): with noise the trace ends near its minimum."""

    def predict(params, batch=None):
        return params[:1] * params[1:]

    def squared(params):
        return jnp.mean((predict(params) - 1.0) ** 2)

    start = jnp.array([4.0, 0.25])
    schedule = optax.exponential_decay(0.5, transition_steps=10000, decay_rate=0.5)
    record = {"trace": lambda x: 2 * jnp.sum(x**2)}
    options = {"steps": 60000, "every": 1000, "key": KEY, "record": record}
    tx = optax.chain(fl.label_noise(schedule, predict), optax.sgd(0.04))
    noisy = fl.train(squared, start, tx, **options)
    plain = fl.train(squared, start, optax.sgd(0.04), **options)
    assert plain.metrics["trace"][-1] > 30.0
    assert noisy.metrics["trace"][-1] == pytest.approx(4.0, rel=1e-2)
    assert squared(noisy.params) < 1e-5


# ------------------------------------------------------------------ the trace penalty


def test_a_trace_in_closed_form_is_differentiated():
    def trace(params):
        return sum(jnp.sum(leaf**4) for leaf in jax.tree.leaves(params))

    tx = fl.trace_penalty(0.3, trace)
    wanted = jax.tree.map(lambda p: 0.3 * 4 * p**3, PARAMS)
    assert_close(added(tx), wanted, rtol=1e-9, atol=1e-12)
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS)  # neither a key nor the loss
    assert_close(updates, jax.tree.map(jnp.add, PARAMS, wanted), rtol=1e-12)


def test_the_estimated_penalty_is_unbiased():
    tx = fl.trace_penalty(0.5)
    mean, error = mean_and_error(lambda key: added(tx, key), 4000)
    wanted = jax.grad(lambda p: 0.5 * fl.hessian_trace(loss, p))(PARAMS)
    assert_within(mean, error, wanted)
    size = norm(wanted)
    assert norm(error) < 0.1 * size
    _, smaller = mean_and_error(lambda key: added(fl.trace_penalty(0.5, products=4), key), 1000)
    ratio = norm(error) / norm(smaller)
    assert ratio == pytest.approx(1.0, rel=0.15)  # four times the products, a quarter of the draws


# ------------------------------------------------------------------ all of them


ALL = {
    "sam": lambda strength: fl.sam(strength),
    "weight_noise": lambda strength: fl.weight_noise(strength),
    "label_noise": lambda strength: fl.label_noise(strength, network),
    "trace_penalty": lambda strength: fl.trace_penalty(strength),
}


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_a_schedule_is_followed(make):
    schedule = optax.piecewise_constant_schedule(0.2, {3: 0.5, 6: 0.0})
    change = jax.jit(lambda step: added(make(schedule), step=step))
    constant = jax.jit(lambda strength: added(make(strength)))
    for step, strength in [(0, 0.2), (2, 0.2), (3, 0.1), (5, 0.1), (6, 0.0), (9, 0.0)]:
        assert_close(change(step), constant(strength), rtol=1e-9, atol=1e-14)
    assert norm(change(9)) < 1e-14 < norm(constant(0.2))
    tx = make(schedule)
    state = tx.init(PARAMS)
    for _ in range(2):
        _, state = tx.update(PARAMS, state, PARAMS, grad=PARAMS, value_fn=loss, key=KEY)
    assert state.count == 2


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_an_unchanged_optimiser_follows(make):
    """The transformation with strength zero in a chain is the optimiser itself, in any order."""
    options = {"steps": 4, "key": KEY, "batch": fl.minibatches(20, 5)}
    plain = fl.train(loss, PARAMS, optax.adam(0.01), **options)
    chained = fl.train(loss, PARAMS, optax.chain(make(0.0), optax.adam(0.01)), **options)
    assert_close(chained.params, plain.params, rtol=1e-9, atol=1e-12)


def test_their_order_does_not_matter_and_their_noise_is_independent():
    parts = [fl.weight_noise(0.1), fl.label_noise(0.1, network), fl.trace_penalty(0.1)]
    forward, backward = added(optax.chain(*parts)), added(optax.chain(*parts[::-1]))
    assert_close(forward, backward, rtol=1e-9, atol=1e-13)
    wanted = [added(part) for part in parts]
    assert_close(forward, jax.tree.map(lambda *a: sum(a), *wanted), rtol=1e-9, atol=1e-13)

    def scalar(params, batch=None):
        return params

    def draws(key):
        x = jnp.zeros(4)
        tx = [fl.weight_noise(1.0), fl.label_noise(1.0, scalar)]
        return [
            t.update(x, t.init(x), x, grad=x, value_fn=lambda x: x @ x / 2, key=key)[0] for t in tx
        ]

    weights, labels = jax.lax.map(draws, jax.random.split(KEY, 500))
    correlation = jnp.corrcoef(weights.ravel(), labels.ravel())[0, 1]
    assert jnp.abs(correlation) < 5 / np.sqrt(2000)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_runs_are_reproducible_and_can_be_vmapped_over_keys_and_strengths(make):
    def end(key, strength):
        optimizer = optax.chain(make(strength), optax.sgd(0.01))
        options = {"steps": 5, "batch": fl.minibatches(20, 5)}
        return fl.train(loss, PARAMS, optimizer, key=key, **options).params["second"]

    keys, strengths = jax.random.split(KEY, 3), jnp.array([0.0, 0.05, 0.1])
    together, alone = jax.vmap(end)(keys, strengths), jax.jit(end)
    np.testing.assert_allclose(together[2], end(keys[2], 0.1), rtol=1e-9)
    np.testing.assert_array_equal(alone(keys[1], 0.05), alone(keys[1], 0.05))
    assert not jnp.allclose(alone(keys[2], 0.1), alone(keys[2], 0.0), rtol=1e-6)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
@pytest.mark.parametrize("strength", [-0.1, jnp.nan, jnp.inf, "0.1", None, jnp.ones(2)])
def test_a_strength_is_a_number_that_is_not_negative(make, strength):
    with pytest.raises(ValueError, match=r"`(radius|std|strength)` must be a number >= 0"):
        make(strength)


@pytest.mark.parametrize("name", ALL)
def test_what_the_update_lacks_is_named(name):
    tx = ALL[name](0.1)
    with pytest.raises(ValueError, match=f"`{name}` needs `params`"):
        tx.update(PARAMS, tx.init(PARAMS))
    missing = "`key`" if name == "label_noise" else "`value_fn`"
    with pytest.raises(TypeError, match=f"`{name}` needs .*{missing}.*fl.train"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)


def test_other_arguments_are_checked():
    with pytest.raises(TypeError, match="`predict` must be a function"):
        fl.label_noise(0.1, LABELS)
    with pytest.raises(TypeError, match="`trace` must be a function"):
        fl.trace_penalty(0.1, 3.0)
    with pytest.raises(ValueError, match="`products` must be an integer of at least 1"):
        fl.trace_penalty(0.1, products=0)
