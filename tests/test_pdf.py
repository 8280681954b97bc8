"""The printed book: a small site of two pages, the same printed wrongly, and the real book.

`make pdf` comes first. What is checked on a printed file is `look`, which returns problems as text.
"""

import re
import shutil

import chapters
import lxml.html
import pages
import pdf
import pikepdf
import pypdfium2
import pytest
import yaml

ROOT = chapters.ROOT
SITE = ROOT / "_build" / "html"
BOOK = ROOT / "_build" / "flat-minima.pdf"
ABOUT = yaml.safe_load((ROOT / "CITATION.cff").read_text())

TOC = """
root: book/front
parts:
  - caption: Chapters
    chapters: [{file: notebooks/one}, {file: notebooks/two}]
"""
HEAD = """<html><head><link rel="stylesheet" href="../_static/course.css">
<script>window.MathJax = {"options": {}}</script>
<script defer="defer" src="../_static/mathjax/tex-chtml.js"></script></head><body><nav>Menu</nav>
"""
FRONT = "<article><h1>Title</h1><p>See <a href='../notebooks/two.html#summary'>2</a>.</p></article>"
ONE = r"""<article class="bd-article"><section id="one"><h1>1. One<a class="headerlink">#</a></h1>
<p><a href="two.html#summary">the other summary</a>, <a href="#summary">this summary</a>,
<a href="two.html">the other chapter</a>, <a href="../book/front.html">the front</a>,
<a href="https://example.org/">elsewhere</a>, <a href="../_static/hero.png">a file</a></p>
<details><summary>Solution</summary><p>The answer is forty-two.</p></details>
<figure><figure class="fl-animation"><img alt="a" loading="lazy" src="../_static/hero.png">
<div class="fl-controls"><button>Play</button></div><script class="fl-frames">[]</script></figure>
<div class="fl-explorable-controls">Slider</div><figcaption>Figure 1.1</figcaption></figure>
<svg viewBox="0 0 9 9"><clipPath id="c"><path d="M0 0h9"/></clipPath><g clip-path="url(#c)"/></svg>
<div style="height: 400mm"></div>
<section id="summary"><h2>Summary</h2><p>Of chapter one, \(x^2\).</p></section>
</section></article>"""
TWO = r"""<article class="bd-article"><section id="two"><h1>2. Two</h1>
<div class="math">\[ (1, WIDE 2, \dots) \tag{2.1} \]</div>
<section id="summary"><h2>Summary</h2><p>Of chapter two.</p></section></section></article>"""
TWO = TWO.replace("WIDE", r"\text{quite long}, " * 12)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The folder of a book of three pages, with identifiers that collide."""
    root = tmp_path_factory.mktemp("small")
    (root / "_toc.yml").write_text(TOC)
    shutil.copy(ROOT / "CITATION.cff", root)
    site = root / "_build" / "html"
    for name, body in {"book/front": FRONT, "notebooks/one": ONE, "notebooks/two": TWO}.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / f"{name}.html").write_text(f"{HEAD}{body}</body></html>")
    static = site / "_static"
    static.mkdir()
    for name in ("course.css", "hero.png"):
        shutil.copy(ROOT / "book" / "_static" / name, static)
    (static / "mathjax").symlink_to(SITE / "_static" / "mathjax")
    return root


@pytest.fixture(scope="module")
def printed(small, browser):
    target = small / "book.pdf"
    pdf.build(small, target, browser)
    return Printed(target)


class Printed:
    """A printed book: the text of its pages, its bookmarks, and its links."""

    def __init__(self, path):
        self.path = path
        document = pypdfium2.PdfDocument(path)
        self.texts = [page.get_textpage().get_text_bounded() for page in document]
        self.bookmarks = [(b.get_title(), b.get_dest().get_index()) for b in document.get_toc()]
        document.close()
        with pikepdf.open(path) as file:
            self.places = {
                name: pikepdf.Page(place[0]).index for name, place in file.Root.Dests.items()
            }
            self.links = [
                (number, _target(link))
                for number, page in enumerate(file.pages)
                for link in page.get("/Annots", [])
            ]

    def pages_with(self, words):
        found = squeeze(words)
        return [number for number, text in enumerate(self.texts) if found in squeeze(text)]


def _target(link):
    return str(link.Dest) if "/Dest" in link else str(link.A.URI)


def look(book):
    """What is wrong with the links, the bookmarks and the contents of a printed book."""
    for number, target in book.links:
        if target not in book.places and not target.startswith("https://"):
            yield f"page {number + 1}: the link to {target} leads nowhere"
    first = book.bookmarks[0][1]
    contents = squeeze("".join(book.texts[:first]))
    for title, number in book.bookmarks:
        if "^" in title or re.search(r"\b[A-Z]\b", title):
            continue  # a formula, whose letters are other signs on the page
        if squeeze(title) not in squeeze(book.texts[number]):
            yield f"{title!r} is not on its page {number + 1}"
        if f"{squeeze(title)}{number + 1}" not in contents:
            yield f"the contents do not have {title!r} on page {number + 1}"


def squeeze(text):
    """Text without spaces and signs for broken lines, which a file does not keep exactly."""
    return re.sub(r"[\s\x02\ufffe-]", "", text)


# A small book ---------------------------------------------------------------------------------


def test_the_small_book_is_right(printed):
    assert not list(look(printed))


def test_links_land_where_they_should(printed):
    (page,) = printed.pages_with("the other summary")
    targets = [target for number, target in printed.links if number == page]
    assert targets == [
        "/two--summary",
        "/one--summary",
        "/page-two",
        "/page-front",
        "https://example.org/",
    ]
    assert [printed.places["/one--summary"]] == printed.pages_with("Of chapter one")
    assert [printed.places["/two--summary"]] == printed.pages_with("Of chapter two")
    assert printed.places["/one--summary"] > page


def test_solutions_are_printed_and_controls_are_not(printed):
    assert printed.pages_with("Solution") == printed.pages_with("The answer is forty-two.") != []
    for words in ("Play", "Slider", "Menu", "#"):
        assert not printed.pages_with(words)


def test_parts_of_drawings_are_found(small):
    document = pdf.join(small / "_build" / "html", yaml.safe_load(TOC), ABOUT)
    assert 'clippath id="one--c"' in document and 'clip-path="url(#one--c)"' in document


def test_bookmarks_are_chapters_and_sections(printed):
    titles = [title for title, _ in printed.bookmarks]
    assert titles == [pdf.FRONT, "1. One", "Summary", "2. Two", "Summary"]


def test_the_chapter_stands_above_its_pages(printed):
    for page in printed.pages_with("Of chapter one"):
        assert squeeze(printed.texts[page]).startswith("1.One")


def test_the_file_says_what_it_is(printed):
    with pikepdf.open(printed.path) as file:
        assert str(file.docinfo["/Title"]).startswith("Flat minima and generalization: ")
        assert str(file.docinfo["/Author"]).startswith("The authors")
        assert str(file.Root.Lang) == "en"
    assert "Version 0.1.0" in printed.texts[0] and "CC BY 4.0" in printed.texts[0]


def test_nothing_is_left_in_the_site(small, printed):
    left = {path.name for path in (small / "_build" / "html").rglob("*") if path.is_file()}
    assert not left & {"book.pdf", "printed.pdf", "print.html"}


def test_pictures_are_printed(printed):
    (page,) = printed.pages_with("Figure 1.1")
    with pikepdf.open(printed.path) as file:
        assert len(file.pages[page].get_images()) == 1


# Printed wrongly ------------------------------------------------------------------------------


def print_wrong(browser, small, right, wrong):
    """The small book with something exchanged in its document."""
    site = small / "_build" / "html"
    document = pdf.join(site, yaml.safe_load(TOC), ABOUT)
    assert right in document
    document = document.replace(right, wrong)
    raw, target = small / "raw.pdf", small / "wrong.pdf"
    pdf.print_to_pdf(browser, document, site, raw)
    pdf.finish(raw, target, document, ABOUT)
    return Printed(target)


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ('<a href="#page-front">', '<a href="front.html">', "leads nowhere"),
        ('title">Summary</h2>', 'title">Other</h2>', "is not on its page"),
    ],
    ids=["link to a page", "title"],
)
def test_a_wrong_book_is_noticed(browser, small, right, wrong, problem):
    assert any(problem in found for found in look(print_wrong(browser, small, right, wrong)))


def test_wrong_numbers_in_the_contents_are_noticed(browser, small, monkeypatch):
    monkeypatch.setattr(pdf, "NUMBER_PAGES", "() => {}")
    problems = list(look(print_wrong(browser, small, "One", "One")))
    assert any("the contents do not have" in problem for problem in problems)


def test_identifiers_of_two_pages_would_collide(browser, small, monkeypatch):
    monkeypatch.setattr(pdf, "identifier", lambda name, anchor="": anchor or name.split("/")[1])
    book = print_wrong(browser, small, "One", "One")
    assert [book.places["/summary"]] != book.pages_with("Of chapter two")


def test_controls_would_be_seen(browser, small):
    shown = ".fl-controls, button, .fl-explorable-controls { display: block !important; }</style>"
    book = print_wrong(browser, small, "</style>", shown)
    assert book.pages_with("Play") and book.pages_with("Slider")


def test_a_closed_solution_would_be_missed(browser, small):
    closed = "details::details-content { content-visibility: hidden !important; }</style>"
    assert not print_wrong(browser, small, "</style>", closed).pages_with("forty-two")


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        (r"\(x^2\)", r"\(\nosuch\)", "formulas are wrong"),
        (r"\(x^2\)", r"\(\frac\)", "formulas are wrong"),
        ('src="http://book.invalid/_static/hero.png"', 'src="/none.png"', "cannot be decoded"),
        ("Of chapter two.", '<span style="padding: 500px"></span>', "is wider than the page"),
        ('<div class="math">', '<div class="other">', "is wider than the page"),
    ],
    ids=["unknown command", "formula", "picture", "wide", "wide formula that is not made smaller"],
)
def test_what_cannot_be_printed_stops_the_printing(browser, small, right, wrong, problem):
    with pytest.raises(Exception, match=problem):
        print_wrong(browser, small, right, wrong)


def test_a_file_that_is_missing_stops_the_printing(browser, small):
    with pytest.raises(SystemExit, match=r"gone\.css"):
        print_wrong(browser, small, "<style>", '<link rel="stylesheet" href="/gone.css"><style>')


def test_a_link_to_another_server_asks_for_nothing(browser, small):
    with pytest.raises(SystemExit, match=r"example\.org"):
        style = '<link rel="stylesheet" href="https://example.org/a.css"><style>'
        print_wrong(browser, small, "<style>", style)


# A chapter printed from the browser -----------------------------------------------------------

CHAPTER = chapters.read(chapters.paths()[-2])


@pytest.fixture(scope="module")
def server():
    server = pages.serve(SITE)
    yield server
    server.shutdown()
    server.server_close()


def print_chapter(browser, server, target, without="nothing"):
    """Print a chapter as a reader with a dark screen does; one file of the site may be missing."""
    with browser.new_context(color_scheme="dark") as context:
        page = context.new_page()
        page.route(f"**/{without}*", lambda route: route.abort())
        page.goto(f"{server.url}/notebooks/{CHAPTER.path.stem}.html")
        page.evaluate("MathJax.startup.promise")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.pdf(path=target)
    return Printed(target)


def dark_share(path):
    """The share of dark spots in what is printed on the second page."""
    document = pypdfium2.PdfDocument(path)
    counts = document[1].render(scale=2).to_pil().convert("L").histogram()
    document.close()
    return sum(counts[:90]) / sum(counts[:240])


def test_a_chapter_on_paper_is_light_and_open(browser, server, tmp_path):
    printed = print_chapter(browser, server, tmp_path / "chapter.pdf")
    assert dark_share(printed.path) > 0.15
    for solution in solutions():
        assert printed.pages_with(solution), solution


def test_without_the_script_a_chapter_is_pale(browser, server, tmp_path):
    printed = print_chapter(browser, server, tmp_path / "chapter.pdf", without="print.js")
    assert dark_share(printed.path) < 0.1


def test_without_the_style_solutions_are_closed(browser, server, tmp_path):
    printed = print_chapter(browser, server, tmp_path / "chapter.pdf", without="course.css")
    assert not any(map(printed.pages_with, solutions()))


def solutions():
    """The first words, without formulas, of the solutions in a chapter."""
    text = "\n".join(CHAPTER.markdown)
    found = re.findall(r"<summary>Solution</summary>\n\n(\w+ \w+ \w+ \w+)", text)
    assert len(found) >= 2
    return found


# The real book --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def book():
    assert BOOK.exists(), "there is no printed book: run `make pdf`"
    return Printed(BOOK)


def pages_of_the_book():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    names = [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]
    return [lxml.html.parse(SITE / f"{name}.html").find(".//article") for name in names]


def test_the_book_is_right(book):
    problems = list(look(book))
    assert not problems, "\n".join(problems)


def test_every_page_of_the_site_is_a_chapter_of_the_book(book):
    titles = [title for title, _ in book.bookmarks]
    for article in pages_of_the_book()[1:]:
        assert article.find(".//h1").text in titles


def test_every_solution_is_in_the_book(book):
    for word in ("Solution", "Hint"):
        folded = sum(
            summary.text_content() == word
            for article in pages_of_the_book()
            for summary in article.iter("summary")
        )
        lines = [line.strip() for text in book.texts for line in text.splitlines()]
        assert lines.count(word) == folded > 0


def test_every_figure_is_in_the_book(book):
    for chapter in map(chapters.read, chapters.paths()):
        for number in chapter.captions:
            assert book.pages_with(f"Figure {number}."), number


def test_the_file_is_not_large():
    assert BOOK.stat().st_size < 25e6
