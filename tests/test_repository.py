"""One address of the repository everywhere, one version, and commands that exist."""

import base64
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.parse

import chapters
import execute
import nbformat
import pytest
import repository
import yaml

import flatlib

ROOT = chapters.ROOT
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
ADDRESS = re.compile(
    r"(?:github\.com/|colab\.research\.google\.com/github/|mybinder\.org/v2/gh/)([\w.-]+/[\w.-]+)"
)
PUBLISHED = re.compile(r"https://([\w-]+)\.github\.io/([\w-]+)")


def texts(root):
    """The tracked text files of a working tree."""
    for name in repository.tracked(root):
        try:
            yield name, (root / name).read_text(encoding="utf8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue


def strange_addresses(root):
    """Addresses of this repository, by the name of the project, that name another owner."""
    slug = repository.current(root)
    name = slug.split("/")[1]
    for path, text in texts(root):
        if path.startswith("tests/"):
            continue
        for found in ADDRESS.findall(text):
            found = found.removesuffix(".git").rstrip(".")
            if found.split("/")[1] == name and found != slug:
                yield f"{path}: {found}"
        for owner, book in PUBLISHED.findall(text):
            if book == name and f"{owner}/{book}" != slug:
                yield f"{path}: the book of {owner}"
        colab = re.findall(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)", text)
        yield from (f"{path}: {found}" for found in colab if found != slug)


def test_one_address():
    assert not list(strange_addresses(ROOT))
    for name in ("README.md", "CITATION.cff", "_config.yml"):
        assert f"https://github.com/{repository.current(ROOT)}" in (ROOT / name).read_text()


def test_one_version():
    assert flatlib.__version__ == VERSION
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]) == VERSION
    for path, text in texts(ROOT):
        if path.startswith("tests/"):
            continue
        for tag in re.findall(r"git\+https://[^\s@]+@v([\d.]+\d)", text):
            assert tag == VERSION, path


def test_mentioned_commands_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path, text in texts(ROOT):
        if path.endswith((".md", ".yml")):
            mentioned = re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", text, re.MULTILINE)
            assert {a or b for a, b in mentioned} <= targets, path


def test_help_lists_every_command():
    help_text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    declared = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in " ".join(declared).split():
        assert re.search(rf"^make {target} +\S", help_text, re.MULTILINE), target


def test_no_large_file_is_tracked():
    for name in repository.tracked(ROOT):
        assert not (ROOT / name).exists() or (ROOT / name).stat().st_size < 2_000_000, name


@pytest.fixture
def copy(tmp_path):
    """A copy of the tracked files, in a repository of its own."""
    for name in repository.tracked(ROOT):
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "--all"], cwd=tmp_path, check=True)
    return tmp_path


def test_one_command_moves_the_course(copy):
    old = repository.current(ROOT)
    changed = repository.move(copy, "https://github.com/someone/their-course", "v9.8.7")
    assert {"README.md", "CITATION.cff", "_config.yml"} <= set(changed)
    assert not [path for path, text in texts(copy) if old in text]
    assert not list(strange_addresses(copy))
    assert not [path for path, text in texts(copy) if repository.book_address(old) in text]
    readme = (copy / "README.md").read_text()
    assert "git+https://github.com/someone/their-course@v9.8.7" in readme
    assert "git clone https://github.com/someone/their-course\ncd their-course\n" in readme
    assert "https://mybinder.org/v2/gh/someone/their-course/main?" in readme
    assert "https://someone.github.io/their-course/book/" in readme
    for path in sorted((copy / "notebooks").glob("*.ipynb")):
        chapter = chapters.read(path)
        assert (
            'REPOSITORY, TAG = "https://github.com/someone/their-course", "v9.8.7"'
            in chapter.notebook.cells[1].source
        )
        assert "github/someone/their-course/blob/main/notebooks/" in chapter.header


@pytest.mark.parametrize(
    "place", ["github.com/{}/", "mybinder.org/v2/gh/{}/", "https://{}.github.io/"]
)
def test_a_strange_address_is_noticed(copy, place):
    readme, owner = copy / "README.md", repository.current(ROOT).split("/")[0]
    assert place.format(owner) in readme.read_text()
    readme.write_text(readme.read_text().replace(place.format(owner), place.format("else")))
    assert list(strange_addresses(copy))


def test_a_fork_that_is_the_site_of_its_owner(copy):
    repository.move(copy, "https://github.com/someone/someone.github.io")
    assert "https://someone.github.io/book/" in (copy / "README.md").read_text()
    repository.move(copy, "https://github.com/else/course")
    assert "https://else.github.io/course/book/" in (copy / "README.md").read_text()


def test_the_address_that_git_clones_from_will_do(copy):
    repository.move(copy, "https://github.com/someone/their-course.git")
    assert repository.current(copy) == "someone/their-course"
    assert "their-course.git" not in (copy / "README.md").read_text()


@pytest.mark.parametrize("arguments", [[], ["https://example.org/a/b"], ["github.com/a/b"]])
def test_a_wrong_address_is_refused(arguments):
    command = [sys.executable, ROOT / "tools" / "repository.py", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode != 0 and "Usage" in result.stderr


def test_the_picture_of_the_landing_page_is_the_figure():
    (figure,) = [
        chapter.pictures[execute.HERO]
        for chapter in map(chapters.read, chapters.paths())
        if execute.HERO in chapter.pictures
    ]
    image = base64.b64decode(figure["data"]["image/png"])
    assert image == execute.HERO_FILE.read_bytes()


def cited(text):
    """The DOIs that a text links to or lists."""
    found = re.findall(r"doi\.org/(10\.[^\s)\]>]+)", text)
    found += re.findall(r"doi\s*=\s*\{(10\.[^}]+)\}", text)
    return {urllib.parse.unquote(doi).lower() for doi in found}


def test_bibliography_lists_what_the_chapters_cite():
    listed = cited((ROOT / "book" / "references.bib").read_text(encoding="utf8"))
    in_chapters = set()
    for path in chapters.paths():
        cells = nbformat.read(path, as_version=4).cells
        in_chapters |= cited("\n".join(c.source for c in cells if c.cell_type == "markdown"))
    assert in_chapters == listed


def test_cited_reads_both_forms():
    assert cited("[doi](https://doi.org/10.1/a%28b%29c) and doi = {10.2/X(y)}") == {
        "10.1/a(b)c",
        "10.2/x(y)",
    }


def test_the_example_of_the_readme_recovers():
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    outcome = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    numbers, answer = outcome.stdout.splitlines()
    assert max(map(float, numbers.split())) < 1e-8
    assert answer == "yes"


def test_names_of_the_library_on_the_pages_exist():
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "book").glob("*.md")]:
        for name in re.findall(r"\bfl\.([a-z_]+)", path.read_text()):
            assert hasattr(flatlib, name), f"{path.name}: fl.{name}"
