"""Store the first picture of every explorable: for readers without scripts, and for paper.

Usage: python tools/stills.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import browser
import explore


def main():
    with browser.launch() as chromium:
        for name in names():
            path = explore.STILLS / f"{name}.html"
            path.write_text(still(chromium, name))
            print(f"Drew {path.relative_to(explore.ROOT)}")


def names():
    return sorted(p.stem for p in explore.SCRIPTS.glob("*.js") if p.stem != "explore")


def still(chromium, name):
    """The picture that an explorable shows first, as SVG."""
    page = open_alone(chromium, name)
    picture = page.locator(".fl-panels").inner_html()
    page.close()
    return picture.replace("><", ">\n<") + "\n"


def open_alone(chromium, name):
    """A page that holds one explorable and nothing else."""
    page = chromium.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    body = explore.figure(name, "", "What the script must take away.")
    scripts = [(explore.SCRIPTS / f"{part}.js").read_text() for part in ("explore", name)]
    page.set_content(
        f"<style>{(explore.SCRIPTS / 'explore.css').read_text()}</style>"
        f'<figure class="fl-explorable" data-name="{name}">{body}</figure>'
        + "".join(f"<script>{script}</script>" for script in scripts)
    )
    if errors:
        raise RuntimeError(f"{name}.js: {errors[0]}")
    return page


if __name__ == "__main__":
    main()
