"""What is checked on the files of the built book, as functions that return problems as text.

test_book.py applies them to the book, and to small pages that are wrong on purpose. browsing.py has
what is looked at in a browser.
"""

import dataclasses
import functools
import http.server
import re
import threading
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import imagesize
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
    """Images without a text alternative or a size, or whose file is missing."""
    for image in site.pages[path].find_all("img"):
        source = image.get("src", "")
        if not image.get("alt", "").strip():
            yield f"the image {source[:60]} has no alt text"
        if source.startswith("data:"):
            yield "an image is stored inside the page"
        elif not urlsplit(source).scheme and not (site.folder / urljoin(path, source)).is_file():
            yield f"the image {source} does not exist"
        elif "_images/" in source:
            file = site.folder / urljoin(path, source)
            if (image.get("width"), image.get("height")) != tuple(map(str, imagesize.get(file))):
                yield f"the page leaves no room for {source}, or not its size"


def buttons(site, path, repository):
    """Buttons of a chapter, its own and the theme's, that open or download another notebook."""
    page = site.pages[path]
    notebook = f"{path.removesuffix('.html')}.ipynb"
    colab = f"https://colab.research.google.com/github/{repository}/blob/main/{notebook}"
    raw = f"https://github.com/{repository}/raw/main/{notebook}"
    binder = f"https://mybinder.org/v2/gh/{repository}/main?urlpath=lab/tree/{notebook}"
    source = f"{'../' * path.count('/')}_sources/{notebook}"
    for button, address in (
        (page.find("a", string="Open in Colab"), colab),
        (page.select_one('.dropdown-launch-buttons a[href*="colab."]'), colab),
        (page.select_one('.dropdown-launch-buttons a[href*="mybinder."]'), binder),
        (page.find("a", string="Download"), raw),
        (page.select_one("a.btn-download-source-button"), source),
    ):
        if button is None or unquote(button["href"]) != address:
            yield f"no button leads to {address}, but one to {button and button['href']}"


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
    server.folder, server.url = folder, f"http://127.0.0.1:{server.server_port}"
    return server
