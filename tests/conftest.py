"""Set-up of all tests: float64, as in the notebooks, and a browser for those that look at pages."""

import shutil

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
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    assert executable, "pages are checked in Chromium: install the system package `chromium`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()
