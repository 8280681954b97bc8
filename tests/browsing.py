"""How a page of the book looks and works in a browser, as functions that return problems as text.

`visit` opens a page once and looks at all that holds for any page; the functions after it use one
part of a page, as a reader does. test_site.py applies them to the book, and to small pages that are
wrong on purpose. look.js holds what runs inside the page.
"""

import dataclasses
import functools
import gzip
from pathlib import Path
from urllib.parse import unquote, urlsplit

import axe_playwright_python

LOOK = Path(__file__).with_name("look.js")
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
AXE_OPTIONS = {
    "resultTypes": ["violations"],
    # No rule that is on needs the style sheets, which would be fetched and read again.
    "preload": False,
    # `sideways` looks at what scrolls, while the formulas are whole.
    "rules": {"scrollable-region-focusable": {"enabled": False}},
}
PAPER = 717  # pixels: A4 between the margins that Chromium sets
HEAVIEST = 1_500_000  # bytes of a page before it is scrolled
TEXT = {".html", ".js", ".css", ".svg", ".json"}  # what a static host compresses
AHEAD = 300  # pixels: where a player comes this near to the screen, it loads its frames
PHONE = 600  # pixels: what is narrower


@dataclasses.dataclass(frozen=True)
class Visit:
    """A page that is open, what is wrong with it, and the files that it asked for."""

    page: object
    problems: list
    files: set

    def look(self, name, about=""):
        """Note what a function of look.js finds."""
        found = self.page.evaluate(f"look.{name}()")
        self.problems.extend(problem + about for problem in found)


def screen(browser, width=1280, **options):
    return browser.new_context(viewport={"width": width, "height": 900}, **options)


def open_page(context, server, path):
    """Open a page with the outside network blocked, and wait until its formulas are set."""
    page = context.new_page()
    visit = Visit(page, [], set())

    def allow(route):
        address = route.request.url
        if address.startswith(f"{server.url}/"):
            visit.files.add(server.folder / unquote(urlsplit(address).path).lstrip("/"))
            route.continue_()
        elif address.startswith(("data:", "blob:")):
            route.continue_()
        else:
            visit.problems.append(f"the page asks for {address}")
            route.abort()

    def listen(message):
        if message.type == "error":
            visit.problems.append(f"console error: {message.text}")

    page.route("**/*", allow)
    page.on("pageerror", lambda error: visit.problems.append(f"script error: {error}"))
    page.on("console", listen)
    page.add_init_script(path=LOOK)
    page.goto(f"{server.url}/{path}", wait_until="load")
    page.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise; }")
    page.wait_for_load_state("networkidle")
    return visit


def visit(context, server, path):
    """What is wrong with a page, wide or narrow, light or dark, on the screen or on paper.

    A path that ends in `#place` is opened at that place; else the page is weighed at its top.
    axe looks at a phone when it is dark, at a wide screen when it is light; paper is wide enough.
    """
    visit = open_page(context, server, path)
    page = visit.page
    phone = page.viewport_size["width"] < PHONE
    if "#" in path:
        page.wait_for_timeout(300)  # the browser scrolls once more when the formulas are set
        visit.look("landing")
    else:
        visit.problems.extend(weight(visit.files))
        visit.problems.extend(early_frames(visit, server))
    page.evaluate("look.scrollThrough()")
    visit.problems.extend(missing_frames(visit, server))
    visit.look("play")
    visit.look("formulas")
    for scheme in ("dark", "light") if not phone else ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("look.settle()")
        for name in ("contrasts", "pictures", "sideways"):
            visit.look(name, f" ({scheme})")
    page.emulate_media(reduced_motion="reduce")
    visit.look("motion")
    if not phone:
        visit.problems.extend(on_paper(page))
    visit.problems.extend(axe(page))
    page.close()
    return visit.problems


@functools.cache
def sizes(file):
    """The bytes of a file as it is stored, and as a static host sends it."""
    content = file.read_bytes()
    sent = gzip.compress(content) if file.suffix in TEXT else content
    return len(content), len(sent)


def weight(files):
    stored, sent = map(sum, zip(*(sizes(file) for file in files if file.is_file()), strict=True))
    if sent > HEAVIEST:
        yield f"the page weighs {sent / 1e6:.2f} MB ({stored / 1e6:.2f} MB uncompressed)"


def frames(visit, server):
    """For each animation, how far it is below the screen, and its frames but the first shown."""
    for animation in visit.page.evaluate("look.animations()"):
        paths = (server.folder / path.lstrip("/") for path in animation["frames"])
        yield animation["below"], set(paths)


def early_frames(visit, server):
    for below, files in frames(visit, server):
        if below > AHEAD and files & visit.files:
            yield f"{len(files & visit.files)} frames are loaded {below:.0f} px too early"


def missing_frames(visit, server):
    files = set().union(*(files for _, files in frames(visit, server)))
    for _ in range(20):
        if files <= visit.files:
            return
        visit.page.wait_for_timeout(100)
    yield f"{len(files - visit.files)} frames are not loaded when they are reached"


def on_paper(page):
    """How a reader's dark page comes out of the printer."""
    size = page.viewport_size
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": PAPER, "height": size["height"]})
    page.evaluate("look.settle()")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")  # as a browser does
    page.evaluate("look.settle()")
    found = page.evaluate("look.paper()")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen", color_scheme="light")
    page.set_viewport_size(size)
    page.evaluate("look.settle()")
    return [f"{problem} (print)" for problem in found]


def axe(page):
    """The serious violations that axe-core finds. The page is of no use afterwards."""
    page.evaluate("look.lighten()")
    page.evaluate(AXE.read_text())
    results = page.evaluate("options => axe.run(options)", AXE_OPTIONS)
    for violation in results["violations"]:
        if violation["impact"] in ("serious", "critical"):
            first = violation["nodes"][0]["html"][:100]
            yield f"axe: {violation['id']}, {len(violation['nodes'])} times, such as {first}"


# What a reader does ---------------------------------------------------------------------------


def focused(page, selector):
    """Whether the keyboard is at an element that the selector describes, and one sees it."""
    return page.evaluate(
        """async (selector) => {
          await look.settle();
          const element = document.activeElement;
          const { opacity, outlineStyle, boxShadow } = getComputedStyle(element);
          const { top, bottom } = element.getBoundingClientRect();
          const marked = outlineStyle !== "none" || boxShadow !== "none";
          const seen = opacity === "1" && bottom > 0 && top < innerHeight && marked;
          return element.matches(selector) && seen;
        }""",
        selector,
    )


def tab_to(page, selector, most=150):
    """Press the tabulator until the keyboard is at such an element; whether one sees it there."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return focused(page, selector)
    return False


def copied(page, cell):
    """What the clipboard holds after a press of the copy button of a code cell."""
    cell.hover()
    cell.locator("button.copybtn").click()
    page.wait_for_timeout(100)
    return page.evaluate("navigator.clipboard.readText()")


def first_found(page, words):
    """Search for words with the keyboard, from any page; the address of the first result."""
    page.keyboard.press("Control+k")
    page.keyboard.type(words)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?**")
    page.wait_for_selector("#search-results h2:has-text('Results')", state="attached")
    result = page.locator("#search-results li a").first
    return result.get_attribute("href") if result.count() else None


def covered(page, field, icon):
    """Whether an icon lies on the words of a field."""
    return page.evaluate(
        """([field, icon]) => {
          const input = document.querySelector(field);
          const { paddingLeft } = getComputedStyle(input);
          const words = input.getBoundingClientRect().left + parseFloat(paddingLeft);
          return document.querySelector(icon).getBoundingClientRect().right > words;
        }""",
        [field, icon],
    )


def moves(figure, milliseconds):
    """When the picture of an animation changes in so many milliseconds."""
    return figure.evaluate(
        """async (figure, milliseconds) => {
          const times = [];
          const observer = new MutationObserver(() => times.push(performance.now()));
          observer.observe(figure.querySelector("img"), { attributeFilter: ["src"] });
          await new Promise((done) => setTimeout(done, milliseconds));
          observer.disconnect();
          return times;
        }""",
        milliseconds,
    )
