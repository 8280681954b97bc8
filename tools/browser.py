"""Chromium, which draws the stills, prints the book and the slides, and looks at every page.

It is the system's own package: `tools/apt.sh` installs it where it may.
"""

import contextlib
import shutil


def find():
    """The path of Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def launch():
    """A browser without a window, steered by Playwright; it is closed at the end."""
    executable = find()
    if not executable:
        raise SystemExit("This needs Chromium: install the system package `chromium`.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()
