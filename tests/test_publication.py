"""What is published: the built book's tags and sitemap, the files of a release, the workflows.

`make book` comes first. The last part breaks each of these on purpose.
"""

import datetime
import os
import re
import subprocess
import sys
import zipfile
from urllib.parse import urljoin
from xml.etree import ElementTree

import card
import chapters
import pack
import pages
import publication
import pytest
import yaml
from bs4 import BeautifulSoup
from PIL import Image, ImageChops, ImageStat

ROOT = chapters.ROOT
SITE = ROOT / "_build" / "html"
ADDRESS = publication.book_address(ROOT)
VERSION = publication.version(ROOT)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# What a step of a workflow may run, besides targets of the Makefile.
PLUMBING = re.compile(r"git config --global --add safe\.directory|tools/report\.sh |gh release ")


@pytest.fixture(scope="module")
def site():
    assert (SITE / "index.html").exists(), "there is no book: run `make book`"
    return pages.read_site(SITE)


# The built book -------------------------------------------------------------------------------


def listed(site):
    """The pages that the sitemap must list: all but search and the indices."""
    return {path for path in site.pages if path.startswith(("book/", "notebooks/"))}


def wrong_head(page, path):
    """What is missing or wrong in the head of a page, for those who link to it."""
    tags = {
        tag.get("property") or tag.get("name"): tag["content"]
        for tag in page.find_all("meta", content=True)
    }
    canonical = page.find("link", rel="canonical")
    if canonical is None or canonical["href"] != ADDRESS + path:
        yield "the canonical address"
    if tags.get("og:url") != ADDRESS + path:
        yield "og:url"
    if tags.get("og:image") != ADDRESS + publication.CARD or not tags.get("og:image:alt"):
        yield "the card"
    if tags.get("twitter:card") != "summary_large_image" or not tags.get("og:title"):
        yield "the title or the kind of card"
    words = tags.get("description", "")
    if not 30 <= len(words) <= publication.DESCRIPTION_LENGTH or re.search(r"[\\${}\n]", words):
        yield f"the description: {words!r}"
    if tags.get("og:description") != words:
        yield "og:description"


def wrong_foot(page, path):
    """What is missing or wrong in the foot of a page."""
    foot = page.select_one("footer .extra_footer")
    words = " ".join(foot.get_text().split()) if foot else ""
    if not re.fullmatch(rf"Version {re.escape(VERSION)} · \d\d? [A-Z][a-z]+ 20\d\d", words):
        yield f"the version and the day: {words!r}"
    elif urljoin(path, foot.find("a")["href"]) != "book/changes.html":
        yield "the link to the changes"


def wrong_sitemap(sitemap, paths):
    """Addresses that a sitemap lacks, or lists though it must not."""
    found = [element.text for element in ElementTree.fromstring(sitemap).findall("{*}url/{*}loc")]
    expected = {ADDRESS + path for path in paths}
    yield from (f"{address} is missing" for address in expected.difference(found))
    yield from (f"{address} is too much" for address in set(found) - expected)
    yield from (f"{address} is listed twice" for address in set(found) if found.count(address) > 1)


def wrong_card(path):
    with Image.open(path) as picture:
        if picture.size != (card.WIDTH, card.HEIGHT):
            yield f"the card has {picture.size} pixels"
    if path.stat().st_size > 300_000:
        yield "the card is too large"


def test_every_page_can_be_shared(site):
    problems = [f"{p}: {w}" for p in sorted(listed(site)) for w in wrong_head(site.pages[p], p)]
    assert not problems, "\n".join(problems)


def test_every_page_names_version_and_day(site):
    built = {path: page for path, page in site.pages.items() if path != "index.html"}
    problems = [f"{path}: {w}" for path, page in built.items() for w in wrong_foot(page, path)]
    assert not problems, "\n".join(problems)
    assert len({page.select_one(".extra_footer").get_text() for page in built.values()}) == 1


def test_the_sitemap_lists_every_page(site):
    assert not list(wrong_sitemap((SITE / "sitemap.xml").read_text(), listed(site)))


def test_the_bare_address_shows_the_card_and_leads_to_the_first_page(site):
    front = site.pages["index.html"]
    assert not list(wrong_head(front, "book/index.html"))
    assert front.find("meta", {"http-equiv": "refresh"})["content"] == "0; url=book/index.html"


def test_the_card_is_in_the_book():
    assert not list(wrong_card(SITE / publication.CARD))


def test_the_card_is_what_the_tool_draws(tmp_path):
    card.draw().savefig(tmp_path / "card.png")
    with Image.open(tmp_path / "card.png") as drawn, Image.open(card.CARD) as stored:
        difference = ImageChops.difference(drawn.convert("RGB"), stored.convert("RGB"))
    assert max(ImageStat.Stat(difference).mean) < 2


# The parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "repository, address",
    [
        ("https://github.com/someone/course", "https://someone.github.io/course/"),
        ("https://github.com/someone/course.git", "https://someone.github.io/course/"),
        ("https://github.com/someone/someone.github.io/", "https://someone.github.io/"),
    ],
)
def test_the_address_follows_from_the_repository(tmp_path, repository, address):
    (tmp_path / "_config.yml").write_text(f"repository: {{url: '{repository}'}}")
    assert publication.book_address(tmp_path) == address


def test_a_domain_of_its_own(tmp_path):
    text = "repository: {url: 'https://github.com/a/b'}\nhtml: {baseurl: 'https://book.org'}"
    (tmp_path / "_config.yml").write_text(text)
    assert publication.book_address(tmp_path) == "https://book.org/"


def test_the_day_is_that_of_the_last_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert publication.day(tmp_path) == datetime.date(1970, 1, 2)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    assert publication.day(tmp_path) == datetime.date(1970, 1, 2)
    identity = ["-c", "user.name=x", "-c", "user.email=x@localhost"]
    commit = ["git", "-C", tmp_path, *identity, "commit", "--quiet", "--allow-empty", "-mx"]
    then = os.environ | {"GIT_COMMITTER_DATE": "2026-02-03T12:00:00Z"}
    subprocess.run(commit, check=True, env=then)
    assert publication.day(tmp_path) == datetime.date(2026, 2, 3)


def test_without_git_and_without_a_date_it_is_today(tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setenv("PATH", "")
    before = datetime.datetime.now(datetime.UTC).date()
    assert before <= publication.day(tmp_path) <= datetime.datetime.now(datetime.UTC).date()


def test_links_to_dois_are_asked_of_the_registry():
    doi = "10.1137/0613066"
    asked = publication.ask_registry(None, f"https://doi.org/{doi}")
    assert asked == f"https://doi.org/api/handles/{doi}"
    assert publication.ask_registry(None, "https://example.org/10.1") == "https://example.org/10.1"


# A release ------------------------------------------------------------------------------------


@pytest.fixture
def small_tree(tmp_path):
    """What a release is made from, in small."""
    files = {
        "_config.yml": "repository: {url: 'https://github.com/a/b'}",
        "pyproject.toml": '[project]\nname = "x"\nversion = "7.8.9"\n',
        "LICENSE": "",
        "flatlib/__init__.py": "",
        "flatlib/data/figure.npz": "",
        "flatlib/__pycache__/old.pyc": "",
        "notebooks/01_first.ipynb": "{}",
        "notebooks/.ipynb_checkpoints/old.ipynb": "{}",
        "_build/html/index.html": "",
        "_build/html/book/index.html": "",
        "_build/html/.buildinfo": "",
        "_build/flat-minima.pdf": "%PDF",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def contents(archive):
    with zipfile.ZipFile(archive) as opened:
        return {name for name in opened.namelist() if not name.endswith("/")}


def test_the_files_of_a_release(small_tree):
    target = small_tree / "_build" / "release"
    paths = pack.write(small_tree, target)
    assert set(paths) == set(target.iterdir())
    html, notebooks, pdf = paths
    assert html.name == "flat-minima-html-7.8.9.zip"
    assert contents(html) == {f"{html.stem}/{name}" for name in ("index.html", "book/index.html")}
    assert notebooks.name == "flat-minima-notebooks-7.8.9.zip"
    packed = ["flatlib/__init__.py", "flatlib/data/figure.npz", "notebooks/01_first.ipynb"]
    packed += ["pyproject.toml", "LICENSE", "README.md"]
    assert contents(notebooks) == {f"{notebooks.stem}/{name}" for name in packed}
    assert pdf.name == "flat-minima-7.8.9.pdf" and pdf.read_text() == "%PDF"
    with zipfile.ZipFile(notebooks) as opened:
        readme = opened.read(f"{notebooks.stem}/README.md").decode()
    assert "version 7.8.9" in readme and "<https://a.github.io/b/>" in readme


def test_unpacked_notebooks_are_complete(tmp_path):
    """Of what is unpacked, the links lead somewhere, and the library can be imported."""
    pack.gather_notebooks(ROOT, tmp_path / "unpacked")
    links = set()
    for path in (tmp_path / "unpacked" / "notebooks").glob("*.ipynb"):
        text = "\n".join(chapters.prose(cell) for cell in chapters.read(path).markdown)
        links |= {found["target"].partition("#")[0] for found in chapters.LINK.finditer(text)}
    files = {link for link in links if link and "://" not in link}
    assert files
    assert not [link for link in files if not (tmp_path / "unpacked" / "notebooks" / link).exists()]
    command = [sys.executable, "-c", "import flatlib; print(flatlib.__file__)"]
    found = subprocess.run(command, cwd=tmp_path / "unpacked", capture_output=True, text=True)
    assert str(tmp_path) in found.stdout


def test_a_tag_that_is_not_the_version_is_refused():
    command = [sys.executable, ROOT / "tools" / "pack.py", "v0.0.1"]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode != 0 and VERSION in outcome.stderr


# The workflows --------------------------------------------------------------------------------


def wrong_form(workflow):
    """What GitHub's schema of workflows says against a file."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    command += ["vendor.github-workflows", workflow]
    outcome = subprocess.run(command, capture_output=True, text=True)
    if outcome.returncode:
        yield outcome.stdout


def wrong_workflow(workflow):
    """Jobs without a limit, steps with logic of their own, and targets that do not exist."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    content = yaml.safe_load(workflow.read_text())
    if content.get("permissions") != {"contents": "read"}:
        yield "a job may do more than read unless it says so"
    for name, job in content["jobs"].items():
        if "uses" in job:
            if not (ROOT / job["uses"]).is_file():
                yield f"{name} uses {job['uses']}, which does not exist"
            continue
        if "timeout-minutes" not in job:
            yield f"{name} has no limit of time"
        for step in job["steps"]:
            command = step.get("run", "")
            found = re.fullmatch(r'make ([a-z]+)( [A-Z]+="\$[A-Z_]+")?', command)
            if command and not (found or PLUMBING.match(command)):
                yield f"{name} runs {command!r}"
            if found and found[1] not in targets:
                yield f"there is no `make {found[1]}`"
            if not command and not re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]):
                yield f"{name} uses {step['uses']}"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows(workflow):
    assert not [*wrong_form(workflow), *wrong_workflow(workflow)]


def test_there_is_a_workflow_for_each_occasion():
    assert [path.stem for path in WORKFLOWS] == ["publish", "release", "test", "weekly"]


@pytest.fixture
def github(tmp_path, monkeypatch):
    """A `gh` that writes down what it is asked, and knows the issues named in `open`."""
    script = tmp_path / "gh"
    script.write_text(
        '#!/bin/sh\ncd "$(dirname "$0")"\necho "$*" >>asked\n[ "$2" != list ] || cat open\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def report(open_issues):
        (tmp_path / "open").write_text(open_issues)
        (tmp_path / "asked").unlink(missing_ok=True)
        subprocess.run([ROOT / "tools" / "report.sh", "weekly", "Broken", "Links."], check=True)
        return (tmp_path / "asked").read_text().splitlines()[1:]

    return report


def test_a_failure_opens_one_issue_and_comments_on_it_from_then_on(github):
    first = github("")
    assert first[-1] == "issue create --label weekly --title Broken --body Links."
    assert github("17\n") == ["issue comment 17 --body Links."]


# Wrong on purpose -----------------------------------------------------------------------------

WRONG_HEADS = {  # what is noticed, and what is put in the place of what
    "the canonical address": ('rel="canonical" href="', 'rel="canonical" href="https://x.org/'),
    "og:url": ('"og:url" content="', '"og:url" content="x'),
    "the card": (publication.CARD, "_static/none.png"),
    "the title or the kind of card": ("summary_large_image", "summary"),
    "the description": ('"description" content="', r'"description" content="$\lVert X'),
    "og:description": ('"og:description" content="', '"og:description" content="x'),
}


@pytest.mark.parametrize("what", WRONG_HEADS)
def test_a_wrong_head_is_noticed(what):
    path = "book/changes.html"
    text = (SITE / path).read_text()
    old, new = WRONG_HEADS[what]
    assert old in text
    found = wrong_head(BeautifulSoup(text.replace(old, new), "html.parser"), path)
    assert any(problem.startswith(what) for problem in found)


@pytest.mark.parametrize(
    "old, new", [("Version ", "Version 9"), ("extra_footer", "other"), ("changes.html", "x.html")]
)
def test_a_wrong_foot_is_noticed(old, new):
    text = (SITE / "book" / "claims.html").read_text().replace(old, new)
    assert list(wrong_foot(BeautifulSoup(text, "html.parser"), "book/claims.html"))


def test_a_wrong_sitemap_is_noticed(site):
    sitemap = (SITE / "sitemap.xml").read_text()
    for old, new in [
        (r"<url><loc>[^<]*claims\.html</loc></url>", ""),
        ("claims.html", "search.html"),
        ("(<url>.*?</url>)", r"\1\1"),
    ]:
        wrong = re.sub(old, new, sitemap, count=1)
        assert wrong != sitemap and list(wrong_sitemap(wrong, listed(site)))


def test_a_wrong_card_is_noticed(tmp_path):
    Image.new("RGB", (1200, 600)).save(tmp_path / "card.png")
    assert list(wrong_card(tmp_path / "card.png"))


WRONG_WORKFLOWS = {
    "timeout-minutes: 120\n": "\n",
    "make test": "make nothing",
    "make test ": "make test && make book",
    "contents: read": "contents: write",
    "actions/checkout@v7": "someone/checkout@v7",
}


@pytest.mark.parametrize("old", WRONG_WORKFLOWS)
def test_a_wrong_workflow_is_noticed(old, tmp_path):
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    assert old.strip() in text
    (tmp_path / "test.yml").write_text(text.replace(old.strip(), WRONG_WORKFLOWS[old]))
    assert list(wrong_workflow(tmp_path / "test.yml"))


@pytest.mark.parametrize("old, new", [("runs-on", "run-on"), ("jobs:", "job:")])
def test_a_wrong_form_is_noticed(old, new, tmp_path):
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    (tmp_path / "test.yml").write_text(text.replace(old, new))
    assert list(wrong_form(tmp_path / "test.yml"))


def test_a_release_without_its_pdf_is_noticed(small_tree):
    (small_tree / "_build" / "flat-minima.pdf").unlink()
    with pytest.raises(FileNotFoundError):
        pack.write(small_tree, small_tree / "_build" / "release")
