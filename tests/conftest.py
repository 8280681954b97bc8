"""Set-up of all tests: float64, as in the notebooks."""

import jax
import pytest

jax.config.update("jax_enable_x64", True)


@pytest.fixture
def single_precision():
    """JAX as it starts, in float32 mode."""
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)
