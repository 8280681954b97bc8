"""The built book: its files, and how it looks and works in a browser. `make book` comes first."""

import importlib
import inspect

import chapters
import pages
import pytest
from bs4 import BeautifulSoup

import flatlib

SITE = chapters.ROOT / "_build" / "html"
FOLDERS = ("book", "notebooks")
PAGES = sorted(str(p.relative_to(SITE)) for f in FOLDERS for p in (SITE / f).glob("*.html"))
CHAPTERS = [chapters.read(path) for path in chapters.paths()]
NAMES = [chapter.path.stem for chapter in CHAPTERS]
SCREENS = {"desktop": 1280, "phone": 360}


@pytest.fixture(scope="module")
def site():
    assert (SITE / "index.html").exists(), "there is no book: run `make book`"
    return pages.read_site(SITE)


def page_of(site, chapter):
    return site.pages[f"notebooks/{chapter.path.stem}.html"]


# The files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "check",
    [pages.broken_links, pages.foreign_addresses, pages.images, pages.raw_source],
    ids=lambda check: check.__name__,
)
def test_files(site, check):
    problems = [f"{path}: {problem}" for path in site.pages for problem in check(site, path)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_every_statement_is_a_box(site, chapter):
    boxes = {box["id"]: box for box in page_of(site, chapter).select(".fl-box")}
    assert list(boxes) == [statement.anchor for statement in chapter.statements]
    for statement in chapter.statements:
        box = boxes[statement.anchor]
        assert f"fl-{statement.kind.lower()}" in box["class"]
        assert box.select_one(".fl-box-title").get_text().startswith(statement.label)
        assert box.select_one(f'a.headerlink[href="#{statement.anchor}"]')


@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_equations_and_figures_can_be_linked(site, chapter):
    page = page_of(site, chapter)
    for prefix, numbers in (("eq", chapter.tags), ("fig", chapter.captions)):
        for number in numbers:
            identifier = f"{prefix}-{number.replace('.', '-')}"
            assert page.find(id=identifier), identifier


@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_every_figure_has_caption_and_alt_text(site, chapter):
    figures = page_of(site, chapter).select("figure.fl-figure")
    assert len(figures) == len(chapter.figures)
    for figure, record in zip(figures, chapter.figures, strict=True):
        assert figure.find("img")["alt"] == record["alt"]
        assert figure.find("figcaption").get_text(strip=True).startswith("Figure ")


def test_frames_of_animations_are_files(site):
    players = [p for page in site.pages.values() for p in page.select("figure.fl-animation")]
    assert len(players) == sum(f["role"] == "animation" for c in CHAPTERS for f in c.figures)
    assert not any("data:image" in str(player) for player in players)


def test_the_ledger_lists_every_statement_and_every_check(site):
    ledger = site.pages["book/claims.html"]
    links = {link["href"] for link in ledger.find_all("a", href=True)}
    for chapter in CHAPTERS:
        section = ledger.find(id=f"claims-chapter-{chapter.number}")
        for statement in chapter.statements:
            if statement.kind != "Exercise":
                assert f"../notebooks/{chapter.path.stem}.html#{statement.anchor}" in links
        with_tolerance = [r for r in section.find_all("tr") if r.find_all("td")[-1:]]
        tolerances = [row.find_all("td")[-1].get_text() for row in with_tolerance]
        assert sorted(filter(None, tolerances)) == sorted(
            f"{check['tolerance']:g}" for check in chapter.checks
        )


def test_the_reference_has_every_public_name(site):
    page = site.pages["book/library.html"]
    described = {dt["id"].rsplit(".", 1)[-1] for dt in page.select("dt.sig[id]")}
    plotting = importlib.import_module("flatlib.plotting")
    drawing = [
        name
        for name, value in vars(plotting).items()
        if inspect.isfunction(value) and value.__module__ == "flatlib.plotting"
    ]
    public = [name for name in flatlib.__all__ if not inspect.ismodule(getattr(flatlib, name))]
    missing = {name for name in [*public, *drawing] if not name.startswith("_")} - described
    assert not missing


def test_every_chapter_has_a_card(site):
    cards = site.pages["book/index.html"].select(".fl-cards .sd-card")
    for card, chapter in zip(cards, CHAPTERS, strict=True):
        assert chapter.title in card.get_text()
        assert f"runs in {chapter.recorded_seconds} s" in card.get_text()


# In a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    server = pages.serve(SITE)
    yield server
    server.shutdown()
    server.server_close()


def screen(browser, width=1280, **options):
    return browser.new_context(viewport={"width": width, "height": 900}, **options)


@pytest.mark.parametrize("width", SCREENS.values(), ids=SCREENS)
@pytest.mark.parametrize("path", PAGES)
def test_page(browser, server, path, width):
    with screen(browser, width) as context:
        problems = pages.visit(context, f"{server.url}/{path}")
    assert not problems, "\n".join([path, *problems])


@pytest.mark.parametrize("width", SCREENS.values(), ids=SCREENS)
@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_a_link_to_a_statement_lands_on_its_box(browser, server, chapter, width):
    statement = chapter.statements[-1]
    url = f"{server.url}/notebooks/{chapter.path.stem}.html#{statement.anchor}"

    def place(page):
        page.wait_for_timeout(300)  # the browser scrolls once more when the formulas are set
        top = page.locator(f"#{statement.anchor}").bounding_box()["y"]
        return [] if 0 <= top < 850 else [f"the box is at {top} px of the screen"]

    with screen(browser, width) as context:
        page = context.new_page()
        page.goto(url)
        page.evaluate("async () => { await window.MathJax?.startup?.promise; }")
        assert not place(page)


def test_a_dark_page_is_dark(browser, server):
    colors = {}
    for scheme in ("light", "dark"):
        with screen(browser, color_scheme=scheme) as context:
            page = context.new_page()
            page.goto(f"{server.url}/book/index.html")
            colors[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colors["light"] == "rgb(255, 255, 255)" and colors["dark"] != colors["light"]


def test_search_finds_a_statement(browser, server):
    with screen(browser) as context:
        page = context.new_page()
        page.goto(f"{server.url}/search.html?q=rescaling")
        page.wait_for_selector("#search-results li", timeout=10_000)


def animated():
    return next(c for c in CHAPTERS if any(f["role"] == "animation" for f in c.figures))


def test_an_animation_plays_pauses_and_obeys_the_keyboard(browser, server):
    with screen(browser) as context:
        page = context.new_page()
        page.goto(f"{server.url}/notebooks/{animated().path.stem}.html")
        player = page.locator("figure.fl-animation").first
        button, slider = player.locator("button"), player.locator("input[type=range]")
        player.scroll_into_view_if_needed()
        first = player.locator("img").get_attribute("src")
        button.click()
        page.wait_for_function(
            "src => document.querySelector('figure.fl-animation img').getAttribute('src') !== src",
            arg=first,
            timeout=10_000,
        )
        button.click()
        paused = slider.input_value()
        page.wait_for_timeout(400)
        assert slider.input_value() == paused
        slider.focus()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        assert slider.input_value() == "1"


def test_an_animation_shows_a_still_where_scripts_are_off(browser, server):
    with screen(browser, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{server.url}/notebooks/{animated().path.stem}.html")
        player = page.locator("figure.fl-animation").first
        player.scroll_into_view_if_needed()
        assert player.locator("img").is_visible()
        assert player.locator("button").count() == 0


# Pages that are wrong on purpose --------------------------------------------------------------

WRONG_FILES = {
    "link to no page": ("broken_links", '<a href="other.html">x</a>'),
    "link to no place": ("broken_links", '<a href="#nowhere">x</a>'),
    "script from elsewhere": ("foreign_addresses", '<script src="https://x.org/a.js"></script>'),
    "font from elsewhere": ("foreign_addresses", '<link rel="stylesheet" href="//x.org/a.css">'),
    "import in a style": ("foreign_addresses", "<style>@import 'https://x.org/a.css'</style>"),
    "no alt": ("images", '<img src="page.html">'),
    "no image": ("images", '<img alt="x" src="none.png">'),
    "image inside the page": ("images", '<img alt="x" src="data:image/png;base64,AA">'),
    "role": ("raw_source", "<article>see {ref}`x`</article>"),
    "mathematics": ("raw_source", "<article>$$ x $$</article>"),
}


@pytest.mark.parametrize("what", WRONG_FILES)
def test_a_wrong_file_is_noticed(what, tmp_path):
    name, html = WRONG_FILES[what]
    (tmp_path / "page.html").write_text(html)
    small = pages.Site(tmp_path, {"page.html": BeautifulSoup(html, "html.parser")})
    assert list(getattr(pages, name)(small, "page.html"))


MATHJAX = '<script src="/_static/mathjax/tex-chtml.js"></script>'
WRONG_PAGES = {
    "wrong formula": (
        MATHJAX + r'<div class="math">\[ \nosuch \]</div>',
        "formulas are wrong",
    ),
    "tag in split": (
        MATHJAX + r'<div class="math">\[\begin{split}a\\b\tag{1}\end{split}\]</div>',
        "formulas are wrong",
    ),
    "formula left as source": ('<div class="math">\\[ x \\]</div>', "is not set"),
    "console error": ("<script>console.error('no')</script>", "console error: no"),
    "script error": ("<script>nothing()</script>", "script error"),
    "too wide": ('<article><div style="width: 3000px">x</div></article>', "scrolls sideways"),
    "no alt": ('<img src="/favicon.svg">', "no alt text"),
    "pale": ('<article><p style="color: #bbb; background: #fff">x</p></article>', "contrast"),
    "network": ('<script src="https://cdn.example.org/a.js"></script>', "asks for https"),
}


@pytest.mark.parametrize("what", WRONG_PAGES)
def test_a_wrong_page_is_noticed(browser, tmp_path, what):
    html, problem = WRONG_PAGES[what]
    (tmp_path / "_static").symlink_to(SITE / "_static")
    (tmp_path / "favicon.svg").symlink_to(chapters.ROOT / "book" / "_static" / "favicon.svg")
    (tmp_path / "page.html").write_text(f"<link rel='icon' href='/favicon.svg'>{html}")
    small = pages.serve(tmp_path)
    try:
        with screen(browser) as context:
            assert any(problem in found for found in pages.visit(context, f"{small.url}/page.html"))
    finally:
        small.shutdown()
        small.server_close()
