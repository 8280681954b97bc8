"""The files of the built book. `make book` comes first; test_site.py opens them in a browser."""

import importlib
import inspect

import chapters
import pages
import pytest
import repository
from bs4 import BeautifulSoup

import flatlib

SITE = chapters.ROOT / "_build" / "html"
CHAPTERS = [chapters.read(path) for path in chapters.paths()]
NAMES = [chapter.path.stem for chapter in CHAPTERS]


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


@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_buttons_lead_to_this_chapter(site, chapter):
    path = f"notebooks/{chapter.path.stem}.html"
    assert not list(pages.buttons(site, path, repository.current(chapters.ROOT)))
    download = SITE / "_sources" / "notebooks" / chapter.path.name
    assert download.read_bytes() == chapter.path.read_bytes()


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
    "no size": ("images", '<img alt="x" src="_images/dot.svg">'),
    "wrong size": ("images", '<img alt="x" src="_images/dot.svg" width="9" height="9">'),
    "role": ("raw_source", "<article>see {ref}`x`</article>"),
    "mathematics": ("raw_source", "<article>$$ x $$</article>"),
}


@pytest.mark.parametrize("what", WRONG_FILES)
def test_a_wrong_file_is_noticed(what, tmp_path):
    name, html = WRONG_FILES[what]
    (tmp_path / "page.html").write_text(html)
    (tmp_path / "_images").mkdir()
    (tmp_path / "_images" / "dot.svg").write_text('<svg width="9" height="5"></svg>')
    small = pages.Site(tmp_path, {"page.html": BeautifulSoup(html, "html.parser")})
    assert list(getattr(pages, name)(small, "page.html"))


def test_a_button_to_another_chapter_is_noticed(site):
    path, other = (f"notebooks/{name}.html" for name in NAMES[:2])
    mixed = pages.Site(SITE, {path: site.pages[other]})
    assert len(list(pages.buttons(mixed, path, repository.current(chapters.ROOT)))) == 5
    assert len(list(pages.buttons(site, path, "someone/else"))) == 4
