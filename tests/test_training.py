"""The training loop against a plain Python loop, its records, its keys and its status."""

import io
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import flatlib as fl
import flatlib.training

KEY = jax.random.key(0)
A = jax.random.normal(jax.random.key(1), (12, 4))
B = A @ jnp.array([1.0, -2.0, 0.5, 0.0])
START = {"x": jnp.zeros(4)}


def loss(params, batch=None, key=None):
    rows, labels = (A, B) if batch is None else (A[batch], B[batch])
    return jnp.mean((rows @ params["x"] - labels) ** 2)


def noisy_loss(params, batch, key):
    return loss({"x": params["x"] + 0.1 * jax.random.normal(key, (4,))}, batch)


def by_hand(loss, optimizer, steps, batch=None):
    """The same run as a Python loop; returns the parameters at every step."""
    params, memory, path = START, optimizer.init(START), [START["x"]]
    for t in range(steps):
        batch_key, loss_key = jax.random.split(jax.random.fold_in(KEY, t))
        seen = None if batch is None else batch(batch_key)
        gradient = jax.grad(loss)(params, seen, loss_key)
        updates, memory = optimizer.update(gradient, memory, params)
        params = optax.apply_updates(params, updates)
        path.append(params["x"])
    return jnp.stack(path)


@pytest.mark.parametrize(
    ("loss", "batch"), [(loss, None), (noisy_loss, None), (loss, fl.minibatches(12, 3))]
)
def test_train_takes_the_steps_of_a_plain_loop(loss, batch):
    run = fl.train(
        loss, START, optax.adam(0.1), steps=6, key=KEY, batch=batch, every=2, snapshots=True
    )
    path = by_hand(loss, optax.adam(0.1), 6, batch)
    np.testing.assert_array_equal(run.steps, [0, 2, 4, 6])
    np.testing.assert_allclose(run.snapshots["x"], path[::2], rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(run.params["x"], run.snapshots["x"][-1])
    assert run.status_name == "finished" and not run.diverged and run.finite_steps == 6


def test_records_are_functions_of_the_snapshots():
    record = {"loss": loss, "double": lambda params: 2 * params["x"]}
    run = fl.train(
        loss, START, optax.sgd(0.1), steps=30, key=KEY, every=3, record=record, snapshots=True
    )
    assert run.metrics["loss"].shape == (11,) and run.metrics["double"].shape == (11, 4)
    np.testing.assert_allclose(run.metrics["loss"][0], loss(START), rtol=1e-14)
    np.testing.assert_allclose(run.metrics["double"], 2 * run.snapshots["x"], rtol=1e-14)
    losses = [loss({"x": x}) for x in run.snapshots["x"]]
    np.testing.assert_allclose(run.metrics["loss"], losses, rtol=1e-12)
    assert run.metrics["loss"][-1] < 0.1 * run.metrics["loss"][0]


def test_without_records_only_the_end_is_kept():
    run = fl.train(loss, START, optax.sgd(0.1), steps=3, key=KEY)
    assert run.metrics == {} and run.snapshots is None
    np.testing.assert_array_equal(run.steps, [0, 1, 2, 3])


def test_pieces_of_a_long_run_are_one_run():
    """120 records are run in 20 pieces outside a trace, and in one inside."""
    options = {"steps": 240, "every": 2, "record": {"loss": loss}, "batch": fl.minibatches(12, 3)}

    def run(key):
        return fl.train(loss, START, optax.sgd(0.05), key=key, **options)

    outside, inside = run(KEY), jax.jit(run)(KEY)
    assert outside.metrics["loss"].shape == (121,)
    np.testing.assert_allclose(outside.metrics["loss"], inside.metrics["loss"], rtol=1e-9)
    np.testing.assert_allclose(outside.params["x"], inside.params["x"], rtol=1e-9)
    assert inside.status_name == "finished"


def test_runs_are_reproducible_and_depend_on_the_key():
    def end(key):
        return fl.train(noisy_loss, START, optax.sgd(0.1), steps=5, key=key).params["x"]

    assert jnp.array_equal(end(KEY), end(KEY))
    assert not jnp.allclose(end(KEY), end(jax.random.key(1)))


def test_runs_vmap_over_keys():
    def run(key):
        return fl.train(noisy_loss, START, optax.sgd(0.1), steps=40, key=key, record={"loss": loss})

    keys = jax.random.split(KEY, 3)
    batch = jax.vmap(run)(keys)
    assert batch.metrics["loss"].shape == (3, 41)
    np.testing.assert_allclose(batch.params["x"][1], run(keys[1]).params["x"], rtol=1e-10)
    assert batch.status_name == ["finished"] * 3


def test_a_run_is_differentiable_in_its_start():
    def end(scale):
        start = {"x": scale * jnp.ones(4)}
        return loss(fl.train(loss, start, optax.sgd(0.05), steps=7, key=KEY).params)

    slope = (end(1 + 1e-5) - end(1 - 1e-5)) / 2e-5
    assert jax.grad(end)(1.0) == pytest.approx(float(slope), rel=1e-6)


def test_a_line_search_gets_what_it_needs():
    run = fl.train(loss, START, optax.lbfgs(), steps=15, key=KEY)
    assert loss(run.params) < 1e-15


def test_a_loss_of_the_parameters_alone_is_enough():
    alone = fl.train(lambda params: loss(params), START, optax.sgd(0.1), steps=5, key=KEY)
    full = fl.train(loss, START, optax.sgd(0.1), steps=5, key=KEY)
    np.testing.assert_allclose(alone.params["x"], full.params["x"], rtol=1e-14)


def test_factor_loss_trains_on_minibatches():
    op = fl.gaussian_sensing(KEY, 30, (4, 3))
    M = fl.low_rank(jax.random.key(2), (4, 3), 1)
    train_loss = fl.factor_loss(op, op(M))
    start = (jnp.eye(4)[:, :2], jnp.eye(3)[:, :2])
    run = fl.train(
        train_loss, start, optax.adam(0.03), steps=600, key=KEY, batch=fl.minibatches(30, 10)
    )
    assert train_loss(run.params) < 1e-4 * train_loss(start)


# ------------------------------------------------------------------ divergence


@pytest.mark.parametrize("traced", [False, True])
def test_divergence_is_reported(traced):
    def run(key):
        record = {"loss": loss}
        return fl.train(loss, START, optax.sgd(1e6), steps=100, key=key, every=5, record=record)

    run = (jax.jit(run) if traced else run)(KEY)
    assert bool(run.diverged) and run.status_name == "diverged"
    first_bad = int(run.steps[jnp.argmin(jnp.isfinite(run.metrics["loss"]))])
    assert first_bad - 5 <= run.finite_steps <= first_bad
    assert "diverged" in repr(run)


def test_one_non_finite_loss_is_enough():
    """Parameters that stay finite do not hide it, nor does a loss that becomes finite again."""
    target = fl.train(loss, START, optax.sgd(0.01), steps=3, key=KEY).params["x"]

    def broken(params, batch, key):
        here = jnp.all(jnp.abs(params["x"] - target) < 1e-9)
        return loss(params) + jax.lax.stop_gradient(jnp.where(here, jnp.inf, 0.0))

    run = fl.train(broken, START, optax.sgd(0.01), steps=8, key=KEY, record={"loss": loss})
    assert jnp.all(jnp.isfinite(run.metrics["loss"]))
    assert run.diverged and run.finite_steps == 3


def test_the_last_update_counts():
    """The loss is last seen before the last update: the parameters are looked at too."""
    run = fl.train(loss, START, optax.sgd(jnp.inf), steps=1, key=KEY)
    assert run.diverged and run.finite_steps == 0


# ------------------------------------------------------------------ minibatches


def test_minibatches_are_distinct_and_uniform():
    draws = jax.vmap(fl.minibatches(10, 4))(jax.random.split(KEY, 2000))
    assert draws.shape == (2000, 4)
    assert all(len(set(draw)) == 4 for draw in np.asarray(draws).tolist())
    counts = np.bincount(np.ravel(draws), minlength=10)
    assert counts.sum() == 8000 and abs(counts - 800).max() < 120


# ------------------------------------------------------------------ progress bar


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("notebook", [True, False])
def test_the_progress_bar_shows_on_a_terminal_only(monkeypatch, terminal, notebook):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    modules = {name: module for name, module in sys.modules.items() if name != "ipykernel"}
    monkeypatch.setattr(sys, "modules", modules | ({"ipykernel": None} if notebook else {}))
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(flatlib.training, "_DELAY", 0)
    fl.train(loss, START, optax.sgd(0.1), steps=40, key=KEY)
    assert ("step" in stream.getvalue()) == (terminal and not notebook)
    assert (terminal and not notebook) or stream.getvalue() == ""


def test_tqdm_is_loaded_only_when_training():
    code = "import sys, flatlib; assert 'tqdm' not in sys.modules and 'optax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------ errors


def go(loss=loss, params=START, optimizer=None, **options):
    options = {"steps": 4, "key": KEY, **options}
    return fl.train(loss, params, optimizer or optax.sgd(0.1), **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: go(steps=10, every=3), ValueError, "3 does not divide 10"),
        (lambda: go(steps=0), ValueError, "`steps` must be an integer of at least 1"),
        (lambda: go(every=0.5), ValueError, "`every` must be an integer"),
        (lambda: go(params={"x": jnp.zeros(4, jnp.float32)}), TypeError, "`params` must be float"),
        (lambda: go(params={"x": jnp.full(4, jnp.nan)}), ValueError, "`params` has NaN"),
        (lambda: go(lambda a, b: 0.0), TypeError, r"accept \(params, batch, key\)"),
        (
            lambda: go(lambda params: 0.0, batch=fl.minibatches(12, 3)),
            TypeError,
            "Only without `batch`",
        ),
        (lambda: go(lambda params: params["x"]), ValueError, "`loss` must return a scalar"),
        (lambda: go(batch=jnp.arange(3)), TypeError, "`batch` must be a function key -> batch"),
        (lambda: go(record=loss), TypeError, "`record` must be a dict"),
        (lambda: fl.minibatches(5, 6), ValueError, "`size` is at most m = 5"),
        (lambda: fl.minibatches(5, 0), ValueError, "`size` must be an integer"),
    ],
)
def test_bad_input_names_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_float32_mode_is_refused_with_the_remedy(single_precision):
    with pytest.raises(TypeError, match=r"`params` needs float64.*jax_enable_x64"):
        go()


def test_a_loss_that_is_no_scalar_and_a_step_size_as_optimizer_are_refused():
    with pytest.raises(ValueError, match="`loss` must return a scalar"):
        fl.train(lambda x: x, jnp.ones(3), optax.sgd(0.1), steps=1, key=jax.random.key(0))
    with pytest.raises(TypeError, match="`optimizer` must be an optax transformation"):
        fl.train(jnp.sum, jnp.ones(3), 0.1, steps=1, key=jax.random.key(0))
