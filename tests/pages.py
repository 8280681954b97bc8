"""What is checked on the pages of the built book, as functions that return problems as text.

`read_site` and the functions below it read the HTML files; `visit` looks at one page in a browser.
test_book.py applies them to the book, and to small pages that are wrong on purpose.
"""

import dataclasses
import functools
import http.server
import re
import threading
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from bs4 import BeautifulSoup

RAW_SOURCE = re.compile(r"\{(?:ref|cite|doc|eq|numref|prf:\w+)[:\w]*\}`|^:::|\$\$", re.MULTILINE)
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
# Links that a page declares without loading them.
DECLARED = {"canonical", "alternate", "next", "prev", "index", "search", "genindex"}


@dataclasses.dataclass(frozen=True)
class Site:
    folder: Path
    pages: dict  # path below the folder -> BeautifulSoup

    @functools.cached_property
    def identifiers(self):
        return {
            path: {tag["id"] for tag in page.find_all(id=True)} for path, page in self.pages.items()
        }


def read_site(folder):
    files = [path for path in folder.rglob("*.html") if "_static" not in path.parts]
    return Site(
        folder,
        {str(p.relative_to(folder)): BeautifulSoup(p.read_text(), "html.parser") for p in files},
    )


def broken_links(site, path):
    """Links to pages, files and places on pages that do not exist."""
    for link in site.pages[path].find_all("a", href=True):
        href = link["href"]
        if urlsplit(href).scheme or href.startswith("//") or href in ("", "#"):
            continue
        target = unquote(urljoin(path, href))
        name, _, anchor = target.partition("#")
        name = name or path
        if not (site.folder / name).is_file():
            yield f"the link to {href} leads to no page"
        elif anchor and name in site.pages and anchor not in site.identifiers[name]:
            yield f"the link to {href} leads to no place on that page"


def foreign_addresses(site, path):
    """Scripts, styles, fonts and images that would be fetched from another server."""
    for tag in site.pages[path].find_all(LOADED):
        address = tag.get(LOADED[tag.name], "")
        if DECLARED & set(tag.get("rel", [])):
            continue
        if re.match(r"(https?:)?//", address):
            yield f"{tag.name} is loaded from {address}"
    for style in site.pages[path].find_all("style"):
        if re.search(r"url\([\"']?(https?:)?//|@import", style.get_text()):
            yield "a style sheet is loaded from another server"


def images(site, path):
    """Images without a text alternative, or whose file is missing."""
    for image in site.pages[path].find_all("img"):
        source = image.get("src", "")
        if not image.get("alt", "").strip():
            yield f"the image {source[:60]} has no alt text"
        if source.startswith("data:"):
            yield "an image is stored inside the page"
        elif not urlsplit(source).scheme and not (site.folder / urljoin(path, source)).is_file():
            yield f"the image {source} does not exist"


def raw_source(site, path):
    """Directives, roles and mathematics that reached the page as source."""
    article = site.pages[path].find("article")
    if article is None:
        return
    for code in article.find_all(["pre", "code", "script", "style"]):
        code.extract()
    if found := RAW_SOURCE.search(article.get_text()):
        yield f"raw source: {found.group()!r}"


def serve(folder):
    """Serve a folder on localhost; the server, whose address is in `url`."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    return server


def visit(context, url):
    """Open a page, scroll through it, look at it light and dark; what is wrong with it."""
    page = context.new_page()
    problems = []
    origin = "{0.scheme}://{0.netloc}/".format(urlsplit(url))

    def allow(route):
        address = route.request.url
        if address.startswith((origin, "data:", "blob:")):
            route.continue_()
        else:
            problems.append(f"the page asks for {address}")
            route.abort()

    page.route("**/*", allow)
    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
    page.on(
        "console",
        lambda message: (
            problems.append(f"console error: {message.text}") if message.type == "error" else None
        ),
    )
    page.goto(url, wait_until="load")
    page.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise; }")
    page.evaluate(SCROLL_THROUGH)
    page.wait_for_load_state("networkidle")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        problems += [f"{problem} ({scheme})" for problem in page.evaluate(LOOK)]
    page.close()
    return problems


SCROLL_THROUGH = """async () => {
  const step = window.innerHeight;
  for (let y = 0; y < document.documentElement.scrollHeight; y += step) {
    window.scrollTo(0, y);
    await new Promise(requestAnimationFrame);
  }
  window.scrollTo(0, 0);
}"""

LOOK = r"""() => {
  const problems = [];
  const SCROLLS = "div.math, .fl-wide, mjx-assistive-mml, pre, .pst-scrollable-table-container";
  const READ = "article p, article li, .fl-box-title, figcaption, summary, .fl-controls button";
  const numbers = (color) => {
    const parts = color.match(/[\d.]+/g).map(Number);
    return color.startsWith("color(") ? parts.map((v, i) => (i < 3 ? 255 * v : v)) : parts;
  };
  const luminance = (color) => {
    const [r, g, b] = numbers(color).map((v) =>
      v <= 10.3 ? v / 3295 : Math.pow((v / 255 + 0.055) / 1.055, 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (element) => {
    let behind = element;
    const color = (e) => getComputedStyle(e).backgroundColor;
    while (behind.parentElement && (numbers(color(behind))[3] ?? 1) < 0.5)
      behind = behind.parentElement;
    const [a, b] = [getComputedStyle(element).color, color(behind)].map(luminance);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  // MathJax sets an unknown command in red, and calls other mistakes an error.
  const errors = document.querySelectorAll('mjx-merror, mjx-assistive-mml [mathcolor="red"]');
  if (errors.length) problems.push(`${errors.length} formulas are wrong: ${errors[0].textContent}`);
  for (const math of document.querySelectorAll("div.math, span.math"))
    if (!math.querySelector("mjx-container"))
      problems.push(`a formula is not set: ${math.textContent.slice(0, 60)}`);
  const root = document.documentElement;
  if (root.scrollWidth > window.innerWidth) {
    const wide = [...document.querySelectorAll("article *")].find(
      (e) => e.getBoundingClientRect().right > window.innerWidth && !e.closest(SCROLLS));
    problems.push(`the page scrolls sideways (${root.scrollWidth} px), such as ` +
      `${wide?.tagName} ${wide?.textContent.trim().slice(0, 60)}`);
  }
  for (const element of document.querySelectorAll(READ)) {
    const ratio = contrast(element);
    if (ratio < 4.4)
      problems.push(`contrast ${ratio.toFixed(1)}: ${element.textContent.trim().slice(0, 40)}`);
  }
  for (const image of document.images) {
    if (!image.alt.trim()) problems.push(`an image has no alt text: ${image.src.slice(0, 60)}`);
    if (image.complete && !image.naturalWidth)
      problems.push(`an image does not load: ${image.src.slice(0, 60)}`);
  }
  return problems;
}"""
