"""What the tools read in a chapter: its header, statements, checks, figures and anchors.

A chapter is a notebook in plain Markdown whose numbered statements follow one form (CONTRIBUTING
describes it). This module turns that form into data for the book's extensions, the rules that the
tests apply, and `make notebooks`. It needs neither Sphinx nor the course library.
"""

import dataclasses
import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]

# The kinds of numbered statements, each with the prefix of its anchors.
PREFIXES = {
    "Definition": "def",
    "Assumption": "asm",
    "Lemma": "lem",
    "Proposition": "prop",
    "Theorem": "thm",
    "Corollary": "cor",
    "Remark": "rem",
    "Example": "exa",
    "Exercise": "ex",
}
CLAIMS = {"Lemma", "Proposition", "Theorem", "Corollary"}  # what needs a proof or a citation
_KINDS = "|".join(PREFIXES)

BOX = re.compile(rf"^> \*\*(?P<kind>{_KINDS}) (?P<number>\d+\.\d+)(?: \((?P<name>.+?)\))?\.\*\*")
MENTION = re.compile(rf"\b(?P<kind>{_KINDS}) (?P<number>\d+\.\d+)(?!\.?\d)")
ANCHOR = re.compile(r'<a id="(?P<id>[^"]*)"></a>')
TAG = re.compile(r"\\tag\{(?P<number>[^}]*)\}")
EQUATION_MENTION = re.compile(r"\((?P<number>\d+\.\d+)\)")
CAPTION = re.compile(r"\*?Figure (?P<number>\d+\.\d+)\.")
RUN_TIME = re.compile(r"the code runs in about (?P<seconds>\d+) s\b")
LINK = re.compile(r"\[(?P<text>[^\]\[]*)\]\((?P<target>[^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")


@dataclasses.dataclass(frozen=True)
class Statement:
    """A numbered box: its kind, number, name, anchor, and what the page says of its truth."""

    kind: str
    number: str
    name: str
    anchor: str
    standing: str

    @property
    def label(self):
        return f"{self.kind} {self.number}"


@dataclasses.dataclass(frozen=True)
class Chapter:
    """A notebook with what the book needs to know of it."""

    path: Path
    notebook: nbformat.NotebookNode

    @property
    def markdown(self):
        """The Markdown cells, in order."""
        return [cell.source for cell in self.notebook.cells if cell.cell_type == "markdown"]

    @property
    def code(self):
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    @property
    def header(self):
        return self.markdown[0] if self.markdown else ""

    @property
    def title(self):
        """The title with its number, such as "4. Flatness is a convex program"."""
        return self.header.split("\n", 1)[0].removeprefix("# ").strip()

    @property
    def number(self):
        return self.title.split(".", 1)[0]

    @property
    def promise(self):
        found = re.search(r"^\*([^*].*)\*$", self.header, re.MULTILINE)
        return found.group(1) if found else ""

    @property
    def minutes(self):
        """Minutes of reading and doing that the header states, as text."""
        found = re.search(r"\*\*Time:\*\* (\d+(?:[-–]\d+)?) minutes", self.header)
        return found.group(1) if found else ""

    @property
    def stated_seconds(self):
        """Run time that the header states, or None."""
        found = RUN_TIME.search(self.header)
        return int(found.group("seconds")) if found else None

    @property
    def recorded_seconds(self):
        """Run time that `make notebooks` recorded, or None."""
        return self.notebook.metadata.get("flatlib", {}).get("run_seconds")

    @property
    def statements(self):
        """Every numbered box, in order of appearance."""
        return list(_statements("\n\n".join(self.markdown)))

    @property
    def tags(self):
        """The numbers of the numbered equations, in order of appearance."""
        return [match.group("number") for source in self.markdown for match in TAG.finditer(source)]

    @property
    def anchors(self):
        return [match.group("id") for text in self.markdown for match in ANCHOR.finditer(text)]

    @property
    def outputs(self):
        return [output for cell in self.code for output in cell.get("outputs", [])]

    @property
    def checks(self):
        """The records that `fl.check` left in the outputs: statement, claim, error, tolerance."""
        return [record for output in self.outputs if "statement" in (record := _record(output))]

    @property
    def figures(self):
        """The records of `fl.show` and `fl.animate` in the outputs: role, caption, alt."""
        return [_record(output) for output in self.outputs if _is_figure(output)]

    @property
    def pictures(self):
        """The outputs of `fl.show` and `fl.animate`, by the numbers of their captions."""
        numbered = [
            (CAPTION.match(_record(o)["caption"]), o) for o in self.outputs if _is_figure(o)
        ]
        return {match.group("number"): output for match, output in numbered if match}

    @property
    def captions(self):
        """The numbers of the captioned figures and animations, in order of appearance."""
        captions = [figure["caption"] for figure in self.figures]
        return [m.group("number") for caption in captions if (m := CAPTION.match(caption))]


def _record(output):
    """What the course library left in the metadata of an output."""
    return output.get("metadata", {}).get("flatlib", {})


def _is_figure(output):
    return _record(output).get("role") in ("figure", "animation")


def read(path):
    """Read one chapter."""
    return Chapter(Path(path), nbformat.read(path, as_version=4))


def paths():
    """The stored notebooks, in the order of the book."""
    return sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def prose(markdown):
    """Markdown without code and mathematics, where a number is a reference to something."""
    markdown = re.sub(r"```.*?```", " ", markdown, flags=re.DOTALL)
    markdown = re.sub(r"`[^`\n]+`", " ", markdown)
    markdown = re.sub(r"\$\$.*?\$\$", " ", markdown, flags=re.DOTALL)
    return re.sub(r"(?<!\\)\$[^$]+?(?<!\\)\$", " ", markdown)


def _statements(markdown):
    lines = markdown.split("\n")
    anchor = ""
    for i, line in enumerate(lines):
        if found := ANCHOR.fullmatch(line.strip()):
            anchor = found.group("id")
        elif found := BOX.match(line):
            kind, number = found.group("kind"), found.group("number")
            standing = _standing(kind, number, lines[i:], markdown)
            yield Statement(kind, number, found.group("name") or "", anchor, standing)
            anchor = ""
        elif line.strip():
            anchor = ""  # an anchor belongs to the box right below it


def _standing(kind, number, lines, markdown):
    """What the text after a box says of its truth; empty when it says nothing."""
    if kind in ("Definition", "Assumption"):
        return "nothing to prove"
    if kind == "Exercise":
        return "exercise"
    if f"**Proof of {kind} {number}" in markdown:
        return "proved"
    after = []
    inside = True
    for line in lines:
        inside = inside and line.startswith(">")
        if inside:
            continue
        if line.startswith(("## ", "<a id=", "> **")):
            break
        after.append(line)
    text = " ".join(after)
    if "**Proof" in text:
        return "proved"
    for standing, words in {
        "cited": r"\bcite[sd]?\b|citation|without proof|not proved here|proved in",
        "certified on an instance": r"\bcertif",
        "observed": r"\bobserv",
    }.items():
        if re.search(words, text, re.IGNORECASE):
            return standing
    return "explained in the text" if kind in ("Remark", "Example") else ""
