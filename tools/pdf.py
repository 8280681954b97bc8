"""Print the whole book into one PDF file, _build/flat-minima.pdf. The built book comes first.

Usage: python tools/pdf.py

The articles of the pages, in the order of _toc.yml, become one document behind a title page and
the contents. Chromium prints it: style sheets, pictures and MathJax come out of _build/html, the
type out of Python packages, and nothing out of the network. How a page looks on paper is written
in the part "Paper" of book/_static/course.css; tools/pdf.css has what only the whole book needs.
"""

import html
import importlib.util
import re
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import browser
import lxml.html
import matplotlib
import pikepdf
import yaml

ROOT = Path(__file__).resolve().parents[1]
STYLE = Path(__file__).with_suffix(".css")
FONTS = [
    Path(importlib.util.find_spec("font_source_serif_pro").origin).parent / "files",
    Path(matplotlib.get_data_path()) / "fonts" / "ttf",
]
HOST = "http://book.invalid/"  # exists nowhere: `print_to_pdf` answers every request itself
REFERENCE = re.compile(r"\burl\(#([^)]+)\)")  # from one part of a drawing to another
FRONT = "About this course"  # heading of the first page, which has the title of the book


def main():
    with browser.launch() as chromium:
        build(ROOT, ROOT / "_build" / "flat-minima.pdf", chromium)


def build(root, target, chromium):
    """Print the book that is built in `root`/_build/html into the file `target`."""
    site = root / "_build" / "html"
    about = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf8"))
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf8"))
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "printed.pdf"
        document = join(site, toc, about)
        print_to_pdf(chromium, document, site, printed)
        finish(printed, target, document, about)


# One document ---------------------------------------------------------------------------------


def join(site, toc, about):
    """All pages as one HTML document, in which every link within the book stays inside."""
    parts = [("", [toc["root"]])]
    parts += [
        (part["caption"], [entry["file"] for entry in part["chapters"]]) for part in toc["parts"]
    ]
    names = [name for _, pages in parts for name in pages]
    pages = {name: read_page(site, name) for name in names}
    articles = {name: take_article(page, name, pages) for name, page in pages.items()}
    articles[names[0]].find(".//h1").text = FRONT
    heads = dict.fromkeys(element for page in pages.values() for element in head(page))
    style = STYLE.read_text() + "".join(map(running_head, articles.values()))
    printed = [title_page(about), contents(parts, articles), *map(as_text, articles.values())]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en" data-theme="light">\n<head><meta charset="utf-8">',
            f"<title>{html.escape(about['title'])}</title>",
            *heads,
            f"<script>{CONFIGURE}</script>",
            f"<style>{style}</style></head>",
            *["<body>", *printed, "</body></html>"],
        ]
    )


def as_text(element):
    return lxml.html.tostring(element, encoding="unicode", with_tail=False)


def read_page(site, name):
    """A page whose addresses are absolute, below HOST."""
    page = lxml.html.document_fromstring((site / f"{name}.html").read_text(encoding="utf8"))
    page.make_links_absolute(f"{HOST}{name}.html", resolve_base_href=False)
    return page


def head(page):
    """The style sheets of a page and the scripts that set its formulas, as text."""
    for element in page.head.iter("link", "script"):
        is_style = element.get("rel") == "stylesheet"
        if is_style or "mathjax" in (element.get("src", "") + element.text_content()).lower():
            yield as_text(element)


def take_article(page, name, names):
    """The article of a page in the form for paper, its identifiers made unique in the book."""
    article = page.find(".//article")
    for element in [*article.find_class("headerlink"), *article.iter("script")]:
        element.drop_tree()
    for details in article.iter("details"):
        details.set("open", "")
    for element in article.iter(lxml.etree.Element):
        element.attrib.pop("loading", None)  # there is no scrolling to wait for
        for attribute, value in element.items():
            if attribute in ("id", "for", "aria-labelledby", "aria-describedby"):
                value = " ".join(identifier(name, anchor) for anchor in value.split())
            element.set(
                attribute, REFERENCE.sub(lambda m: f"url(#{identifier(name, m[1])})", value)
            )
    article.rewrite_links(lambda link: inside(link, names), resolve_base_href=False)
    for link in article.xpath(".//a[starts-with(@href, $host)]", host=HOST):
        link.drop_tag()  # to a file of the site, such as a picture in full size
    for heading in article.iter("h2"):  # its section may begin with an anchor, a page before
        heading.set("id", f"{heading.getparent().get('id')}--title")
    article.set("id", identifier(name))
    return article


def identifier(name, anchor=""):
    """The identifier, in the whole book, of a page or of a place on it."""
    return f"{Path(name).name}--{anchor}" if anchor else f"page-{Path(name).name}"


def inside(link, names):
    """A link to a page of the book, as a link to a place in this document."""
    address = urlsplit(link)
    name = address.path.removeprefix("/").removesuffix(".html")
    if not link.startswith(HOST) or name not in names:
        return link
    return f"#{identifier(name, address.fragment)}"


def running_head(article):
    """A style that puts the title of a chapter on top of its pages."""
    title = article.find(".//h1").text_content().replace('"', r"\"")
    return (
        f'@page {article.get("id")} {{ @top-left {{ content: "{title}"; }} }}\n'
        f"#{article.get('id')} {{ page: {article.get('id')}; }}\n"
    )


def title_page(about):
    title, subtitle = about["title"].split(": ", 1)
    address = about["repository-code"]
    return f"""<section class="fl-title-page">
<p class="fl-title">{html.escape(title)}</p>
<p class="fl-subtitle">{html.escape(subtitle[0].upper() + subtitle[1:])}</p>
<p>Version {about["version"]}, {about["date-released"]}</p>
<p>{html.escape(about["authors"][0]["name"])}</p>
<p><a href="{address}">{address}</a></p>
<p>Code: MIT licence. Text: Creative Commons Attribution 4.0 (CC BY 4.0).</p>
</section>"""


def contents(parts, articles):
    """The table of contents; `print_to_pdf` fills in the numbers of the pages."""
    lines = ['<nav class="fl-contents">', '<h1 id="contents">Contents</h1>']
    for caption, names in parts:
        lines.append(f"<p>{html.escape(caption)}</p>" if caption else "")
        lines.append("<ul>")
        for name in names:
            article = articles[name]
            lines.append(f"<li>{entry(article.get('id'), article.find('.//h1'))}<ul>")
            for heading in article.iter("h2"):
                lines.append(f"<li>{entry(heading.get('id'), heading)}</li>")
            lines.append("</ul></li>")
        lines.append("</ul>")
    return "\n".join([*lines, "</nav>"])


def entry(anchor, heading):
    words = html.escape(heading.text or "")
    words += "".join(lxml.html.tostring(child, encoding="unicode") for child in heading)
    return f'<a href="#{anchor}" data-page="000"><span>{words}</span></a>'


# Printing -------------------------------------------------------------------------------------

# A formula is set once, and without a copy in MathML; an unknown command in it is an error.
CONFIGURE = """
MathJax.options = {...MathJax.options, menuOptions: {settings: {assistiveMml: false}}};
MathJax.tex = {...MathJax.tex, packages: {"[-]": ["noundefined"]}};
"""

# A formula is one picture for whoever listens to the page, and its source is read out.
SET_FORMULAS = """async () => {
  await MathJax.startup.promise;
  const wrong = document.querySelectorAll("mjx-merror");
  if (wrong.length) throw new Error(`${wrong.length} formulas are wrong: ${wrong[0].textContent}`);
  for (const formula of MathJax.startup.document.math) {
    formula.typesetRoot.setAttribute("role", "img");
    formula.typesetRoot.setAttribute("aria-label", formula.math);
  }
}"""

LOAD_IMAGES = "() => Promise.all([...document.images].map((image) => image.decode()))"

# What is wider than the page becomes smaller: formulas, tables, code. Nothing else may be.
FIT = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const size = (element) => parseFloat(getComputedStyle(element).fontSize);
  const around = (element) => element.closest("p, li, dd, figcaption, summary, h1, h2, h3");
  const widths = [
    ...all("div.math, pre").map((e) => [e, e.scrollWidth, e.clientWidth]),
    ...all("table").map((e) => [e, e.offsetWidth, e.parentElement.clientWidth]),
    ...all("span.math > mjx-container").map((e) => [e, e.offsetWidth, around(e)?.clientWidth]),
  ];
  for (const [element, width, room] of widths.filter(([, width, room]) => width > room))
    element.style.fontSize = `${(0.99 * room / width) * size(element)}px`;
  const edge = document.documentElement.clientWidth + 1;
  const wide = all("body *").find((e) => e.getBoundingClientRect().right > edge);
  if (wide) throw new Error(`${wide.outerHTML.slice(0, 200)} is wider than the page`);
}"""

NUMBER_PAGES = """(pages) => {
  for (const link of document.querySelectorAll(".fl-contents a"))
    link.dataset.page = pages[link.getAttribute("href").slice(1)];
}"""


def print_to_pdf(chromium, document, site, target):
    """Print a document twice: the first time tells the page of every entry of the contents."""
    page = chromium.new_page(viewport={"width": 627, "height": 900})
    page.emulate_media(media="print", color_scheme="light")
    missing = []

    def answer(route):
        path = unquote(urlsplit(route.request.url).path).lstrip("/")
        files = [folder / Path(path).name for folder in FONTS]
        if route.request.url == HOST:
            route.fulfill(body=document, content_type="text/html; charset=utf-8")
        elif file := next(filter(Path.is_file, [site / path, *files]), None):
            route.fulfill(path=file)
        else:
            missing.append(route.request.url)
            route.abort()

    page.route("**/*", answer)
    page.set_default_timeout(0)
    page.goto(HOST)
    page.evaluate(SET_FORMULAS)
    page.evaluate(LOAD_IMAGES)
    page.evaluate(FIT)
    options = {"path": target, "prefer_css_page_size": True, "print_background": True}
    page.pdf(**options)
    page.evaluate(NUMBER_PAGES, pages_of_places(target))
    page.pdf(**options, tagged=True)
    page.close()
    if missing:
        sys.exit(f"The book asks for what is not in it: {', '.join(missing)}")


def pages_of_places(path):
    """The number of the page of every place that a link leads to."""
    with pikepdf.open(path) as pdf:
        return {
            str(name).removeprefix("/"): pikepdf.Page(place[0]).index + 1
            for name, place in pdf.Root.Dests.items()
        }


def finish(printed, target, document, about):
    """Add bookmarks and the author, and store the file in less space."""
    contents = lxml.html.document_fromstring(document).find_class("fl-contents")[0]
    with pikepdf.open(printed) as pdf:
        with pdf.open_outline() as outline:
            for chapter in contents.xpath("ul/li"):
                outline.root.append(bookmark(chapter, pdf.Root.Dests))
        with pdf.open_metadata() as metadata:
            metadata["dc:title"] = about["title"]
            metadata["dc:creator"] = [author["name"] for author in about["authors"]]
            metadata["dc:language"] = ["en"]
        pdf.save(target, object_stream_mode=pikepdf.ObjectStreamMode.generate)


def bookmark(item, places):
    """An entry of the contents, with those below it, for the side bar of a reader."""
    link = item.find("a")
    words = re.sub(r"\\[()]?", "", link.text_content())  # \(\kappa^2\) is kappa^2
    result = pikepdf.OutlineItem(words, places[f"/{link.get('href')[1:]}"])
    result.is_closed = True
    result.children = [bookmark(below, places) for below in item.xpath("ul/li")]
    return result


if __name__ == "__main__":
    main()
