"""The rules that every notebook obeys. Each is a function that yields problems as text.

A rule takes a chapter (`chapters.Chapter`) and the `Book`: all chapters by file name, the address
of the repository, and the version of the library. test_notebooks.py applies the rules to the stored
notebooks, and breaks a small notebook in every way that they guard against.
"""

import dataclasses
import re

from chapters import (
    ANCHOR,
    BOX,
    CLAIMS,
    EQUATION_MENTION,
    LINK,
    MENTION,
    PREFIXES,
    RUN_TIME,
    prose,
)

LARGEST_FILE = 1_500_000  # bytes
SLOWEST_RUN = 60  # seconds
DIRECTIVE = re.compile(r"^\s*(```+|:::+)\s*\{|^\{[\w:-]+\}`|(?<!`)\{[\w:-]+\}`[^`]", re.MULTILINE)
SOURCE = re.compile(r"\bpaper\b|et al|\b(19|20)\d\d\b", re.IGNORECASE)
SPEAKS = re.compile(r"^(fl\.(check|show|animate|setup_notebook)|print)\(", re.MULTILINE)
LAST_SECTIONS = ["Exercises", "Summary", "References"]


@dataclasses.dataclass(frozen=True)
class Book:
    chapters: dict  # file name -> Chapter
    url: str
    version: str

    @property
    def slug(self):
        return self.url.removeprefix("https://github.com/")


def statement_numbers(chapter, book):
    """One counter for all kinds but exercises, and one for these; no gap, no number twice."""
    exercises = [s for s in chapter.statements if s.kind == "Exercise"]
    others = [s for s in chapter.statements if s.kind != "Exercise"]
    for group in (others, exercises):
        for position, statement in enumerate(group, 1):
            expected = f"{chapter.number}.{position}"
            if statement.number != expected:
                yield f"{statement.label} should have the number {expected}"
    for markdown in chapter.markdown:
        for line in markdown.split("\n"):
            if re.match(rf"> \*\*({'|'.join(PREFIXES)})\b", line) and not BOX.match(line):
                yield f"a box opens in another form than '> **Kind N.M (Name).**': {line[:60]}"


def statement_anchors(chapter, book):
    """An anchor with the prefix of its kind above every box; no anchor twice."""
    for statement in chapter.statements:
        prefix = PREFIXES[statement.kind] + "-"
        if not statement.anchor.startswith(prefix):
            yield f"{statement.label} needs an anchor '{prefix}...' above it"
    for anchor in {a for a in chapter.anchors if chapter.anchors.count(a) > 1}:
        yield f"the anchor {anchor!r} stands twice"
    for markdown in chapter.markdown:
        lines = markdown.split("\n")
        for i, line in enumerate(lines[:-1]):
            if ANCHOR.fullmatch(line.strip()) and lines[i + 1].strip():
                yield f"the anchor {line.strip()} needs an empty line below it"


def statement_standing(chapter, book):
    """The text after a claim says what it rests on."""
    for statement in chapter.statements:
        if statement.kind in CLAIMS and not statement.standing:
            yield (
                f"{statement.label} has neither a proof nor a word on what it rests on "
                "(cited, certified on an instance, observed)"
            )


def statement_mentions(chapter, book):
    """A number of a statement in the text exists, and a linked one is that of its target."""
    labels = {s.label for s in chapter.statements}
    targets = {s.anchor: s.label for s in chapter.statements}
    text = prose("\n\n".join(chapter.markdown)).split("## References")[0]
    for link in LINK.finditer(text):
        target = link["target"].removeprefix("#")
        mention = MENTION.fullmatch(link["text"])
        if mention and targets.get(target, mention.group()) != mention.group():
            yield f"the link '{mention.group()}' leads to {targets[target]}"
    for sentence in re.split(r"(?<=[.!?])\s", text):
        for mention in MENTION.finditer(sentence):
            if mention.group() not in labels and not SOURCE.search(sentence):
                yield f"'{mention.group()}' is not a statement of this chapter"


def equation_numbers(chapter, book):
    """Equation numbers have no gap, none twice, and a reference leads to an equation."""
    text = prose("\n\n".join(chapter.markdown))
    mentioned = {match["number"] for match in EQUATION_MENTION.finditer(text)}
    for position, tag in enumerate(chapter.tags, 1):
        expected = f"{chapter.number}.{position}"
        if tag != expected:
            yield f"equation ({tag}) should have the number ({expected})"
    for number in sorted(mentioned - set(chapter.tags)):
        yield f"({number}) refers to no equation of this chapter"


def links(chapter, book):
    """Links inside the course lead to an anchor, a heading or a file that exists."""
    for markdown in chapter.markdown:
        for link in LINK.finditer(prose(markdown)):
            target = link["target"]
            if target.startswith("#"):
                target = chapter.path.name + target
            if target.startswith("http:"):
                yield f"the link to {target} is not https"
            if re.match(r"https:|mailto:", target):
                continue
            name, _, anchor = target.partition("#")
            if name not in book.chapters:
                yield f"the link to {target} leads to no chapter"
            elif anchor and anchor not in book.chapters[name].anchors:
                yield f"the link to {target} leads to no anchor of that chapter"


def mathematics(chapter, book):
    """Display mathematics in a box stands on one line; no label, reference or align."""
    for markdown in chapter.markdown:
        for line in markdown.split("\n"):
            if line.startswith(">") and line.count("$$") == 1:
                yield f"display mathematics inside a box must stand on one line: {line[:60]}"
        for command in (r"\label", r"\eqref", r"\begin{align}", r"\begin{equation}"):
            if command in markdown:
                yield f"{command} does not work everywhere: use \\tag and aligned"


def plain_markdown(chapter, book):
    """No directive or role, which Colab and GitHub would show as raw source."""
    for markdown in chapter.markdown:
        if found := DIRECTIVE.search(re.sub(r"\$[^$]*\$", "", markdown)):
            yield f"a directive or role: {found.group().strip()!r}"


def header(chapter, book):
    """Title, promise, badges, objectives, prerequisites and time, in this form and order."""
    path = f"{book.slug}/{{}}/main/notebooks/{chapter.path.name}"
    parts = {
        "a title '# N. Title'": rf"# {int(chapter.path.name[:2])}\. .+\n",
        "a promise in italics": r"\n\*[^*].*\*\n",
        "the link to Colab": re.escape(
            f"\n[Open in Colab](https://colab.research.google.com/github/{path.format('blob')})"
        ),
        "the download link": re.escape(f" · [Download](https://github.com/{path.format('raw')})"),
        "the objectives": r"\n\*\*You will be able to\*\*:?\n+([-*] .+(\n+|$)(  .+\n+)*){3,5}",
        "the prerequisites": r"\*\*Before you start:\*\* .+\n",
        "the time": rf"\n\*\*Time:\*\* \d+([-–]\d+)? minutes .*{RUN_TIME.pattern}.*No GPU needed",
    }
    position = 0
    for what, pattern in parts.items():
        found = re.compile(pattern).search(chapter.header, max(0, position - 1))
        if not found:
            yield f"the header lacks {what}, or has it elsewhere"
        else:
            position = found.end()


def sections(chapter, book):
    """The last sections are exercises, summary and references."""
    headings = re.findall(r"^## (.+)$", "\n\n".join(chapter.markdown), re.MULTILINE)
    if headings[-3:] != LAST_SECTIONS:
        yield f"the last sections are {headings[-3:]}, not {LAST_SECTIONS}"


def set_up_cell(chapter, book):
    """The second cell sets up; it is the same in all chapters and knows repository and release."""
    cells = chapter.notebook.cells
    if len(cells) < 2 or cells[1].cell_type != "code":
        yield "the second cell must be the set-up cell"
        return
    if cells[1].metadata.get("tags") != ["setup", "nbval-ignore-output"]:
        yield "the set-up cell needs the tags setup and nbval-ignore-output"
    if f'REPOSITORY, TAG = "{book.url}", "v{book.version}"' not in cells[1].source:
        yield f"the set-up cell must install {book.url} at v{book.version}"
    first = min(book.chapters)
    if cells[1].source != book.chapters[first].notebook.cells[1].source:
        yield f"the set-up cell differs from the one in {first}"


def stored_outputs(chapter, book):
    """Executed from top to bottom in one go, with outputs, without errors or warnings."""
    counts = [cell.execution_count for cell in chapter.code]
    if counts != list(range(1, len(counts) + 1)):
        yield f"the cells were not executed once in order: {counts}"
    for number, cell in enumerate(chapter.code, 1):
        if SPEAKS.search(cell.source) and not cell.outputs:
            yield f"code cell {number} has no stored output"
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"code cell {number} stopped with an error"
            if output.get("name") == "stderr":
                yield f"code cell {number} wrote to stderr"


def ignored_outputs(chapter, book):
    """Only the set-up cell and animations are not compared."""
    for number, cell in enumerate(chapter.code, 1):
        tags = set(cell.metadata.get("tags", []))
        ignored = {
            "nbval-ignore-output",
            "nbval-skip",
            "raises-exception",
            "nbval-raises-exception",
        }
        if tags & ignored and not tags & {"setup", "animation"}:
            yield f"code cell {number} is not compared with its stored output"
        if "animation" in tags and "fl.animate(" not in cell.source:
            yield f"code cell {number} is tagged as an animation, but shows none"
        if re.search(r"#\s*(NBVAL|PYTEST_VALIDATE)_", cell.source):
            yield f"code cell {number} steers nbval by a comment: use tags"


def checks(chapter, book):
    """Checks exist, and each names a statement, an equation or a figure of the chapter."""
    if not chapter.checks:
        yield "nothing is checked: use fl.check"
    labels = [s.label for s in chapter.statements]
    labels += [f"Equation ({tag})" for tag in chapter.tags]
    labels += [f"Figure {caption}" for caption in chapter.captions]
    for check in chapter.checks:
        if not re.match(rf"({'|'.join(map(re.escape, labels))})(?!\d)", check["statement"]):
            yield f"a check names {check['statement']!r}, which is no statement of this chapter"
        if not check["error"] <= check["tolerance"]:
            yield f"the stored check of {check['statement']} exceeds its tolerance"
    for number, cell in enumerate(chapter.code, 1):
        records = [output.get("metadata", {}).get("flatlib", {}) for output in cell.outputs]
        calls = re.search(r"^fl\.check\(", cell.source, re.MULTILINE)
        if calls and not any("statement" in record for record in records):
            yield f"code cell {number} calls fl.check, but keeps no record of it"


def figures(chapter, book):
    """Every picture went through fl.show or fl.animate, with alt text and a numbered caption."""
    for number, cell in enumerate(chapter.code, 1):
        for output in cell.outputs:
            data, record = output.get("data", {}), output.get("metadata", {}).get("flatlib", {})
            if not ("image/png" in data or "<img" in data.get("text/html", "")):
                continue
            if not record.get("alt", "").strip() or not data.get("text/plain", "").strip():
                yield f"a picture of code cell {number} has no alt text: use fl.show"
    for position, caption in enumerate(chapter.captions, 1):
        if caption != f"{chapter.number}.{position}":
            yield f"Figure {caption} should have the number {chapter.number}.{position}"
    if len(chapter.captions) < len(chapter.figures):
        yield "a figure has no caption that begins with 'Figure N.M.'"
    for text in map(prose, chapter.markdown):
        for mention in re.finditer(r"\bFigure (\d+\.\d+)(?!\.?\d)", text):
            if mention[1] not in chapter.captions:
                yield f"{mention.group()} does not exist"
        if re.search(r"!\[\s*\]\(|<img(?![^>]*\balt=\"[^\"]+\")", text):
            yield "an image in the text has no alt text"


def size(chapter, book):
    """The file is small and the run short, and the header tells the recorded run time."""
    if chapter.path.exists() and chapter.path.stat().st_size > LARGEST_FILE:
        yield f"{chapter.path.stat().st_size / 1e6:.2f} MB; at most {LARGEST_FILE / 1e6} MB"
    recorded = chapter.recorded_seconds
    if recorded is None:
        yield "no recorded run time: run `make notebooks`"
    elif recorded > SLOWEST_RUN:
        yield f"the recorded run took {recorded} s; at most {SLOWEST_RUN} s"
    elif chapter.stated_seconds != recorded:
        yield f"the header states {chapter.stated_seconds} s, the recorded run took {recorded} s"


RULES = [
    statement_numbers,
    statement_anchors,
    statement_standing,
    statement_mentions,
    equation_numbers,
    links,
    mathematics,
    plain_markdown,
    header,
    sections,
    set_up_cell,
    stored_outputs,
    ignored_outputs,
    checks,
    figures,
    size,
]
