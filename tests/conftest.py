"""Set-up of all tests: float64, as in the notebooks, and a browser for those that look at pages."""

import browser as chromium
import jax
import pytest

jax.config.update("jax_enable_x64", True)


@pytest.fixture
def single_precision():
    """JAX as it starts, in float32 mode."""
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="module")
def browser():
    assert chromium.find(), "pages are checked in Chromium: install the system package `chromium`"
    with chromium.launch() as browser:
        yield browser
