"""Pages made from the executed notebooks: the claims ledger and the chapter cards.

    ```{claims-ledger}
    ```

lists every numbered statement: where it is, what the page says of its truth, and the error and
tolerance of each check as the stored run observed them.

    ```{chapter-cards}
    1: introductory
    2: intermediate
    ```

shows one card per chapter with its promise, times and level.
"""

import collections

import chapters
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relpath

NO_CHECK = "*no numerical check*"


class ChapterDirective(SphinxDirective):
    """A directive that writes Markdown about the chapters and is renewed when one changes."""

    def chapters(self):
        found = [chapters.read(path) for path in chapters.paths()]
        for chapter in found:
            self.env.note_dependency(str(chapter.path))
        self.env.note_dependency(chapters.__file__)
        return found

    def address(self, chapter, anchor=""):
        page = self.env.doc2path(self.env.docname)
        target = relpath(str(chapter.path), str(chapters.Path(page).parent))
        return f"{target}#{anchor}" if anchor else target

    def parse_into(self, node, markdown):
        source = self.env.doc2path(self.env.docname)
        self.state.nested_parse(StringList(markdown.split("\n"), source), 0, node)
        return node


class ClaimsLedger(ChapterDirective):
    def run(self):
        found = self.chapters()
        summary = self.parse_into(nodes.container(), ledger_summary(found))
        sections = []
        for chapter in found:
            section = nodes.section(ids=[f"claims-chapter-{chapter.number}"])
            section += nodes.title("", chapter.title)
            table = ledger_table(chapter, lambda anchor, c=chapter: self.address(c, anchor))
            sections.append(self.parse_into(section, table))
        return [*summary.children, *sections]


class ChapterCards(ChapterDirective):
    has_content = True

    def run(self):
        levels = dict(line.split(":", 1) for line in self.content if ":" in line)
        lines = ["::::{grid} 1 1 2 2", ":gutter: 3", ":class-container: fl-cards", ""]
        for chapter in self.chapters():
            facts = [
                f"{chapter.minutes} minutes" if chapter.minutes else "",
                f"runs in {chapter.recorded_seconds} s" if chapter.recorded_seconds else "",
                levels.get(chapter.number, "").strip(),
            ]
            lines += [
                f":::{{grid-item-card}} {chapter.title}",
                f":link: {self.address(chapter).removesuffix('.ipynb')}",
                ":link-type: doc",
                "",
                chapter.promise,
                "",
                " · ".join(filter(None, facts)),
                ":::",
                "",
            ]
        return self.parse_into(nodes.container(), "\n".join([*lines, "::::"])).children


def ledger_summary(found):
    """One paragraph that counts statements and checks."""
    statements = [s for c in found for s in c.statements if s.kind in chapters.CLAIMS]
    standings = collections.Counter(s.standing or "without a stated proof" for s in statements)
    counts = ", ".join(f"{count} {standing}" for standing, count in standings.most_common())
    checks = sum(len(chapter.checks) for chapter in found)
    return (
        f"The {len(found)} chapters hold {len(statements)} lemmas, propositions, theorems and "
        f"corollaries ({counts}) and {checks} numerical checks."
    )


def ledger_table(chapter, address):
    """A Markdown table of one chapter's statements, exercises left out."""
    rows = [
        "| Statement | On the page | Check | Observed error | Tolerance |",
        "|:--|:--|:--|--:|--:|",
    ]
    checks = collections.defaultdict(list)
    for check in chapter.checks:
        found = chapters.MENTION.match(check["statement"])
        checks[found.group() if found else check["statement"]].append(check)
    for statement in chapter.statements:
        own_checks = checks.pop(statement.label, [])
        if statement.kind == "Exercise" and not own_checks:
            continue
        label = f"[{statement.label}]({address(statement.anchor)})"
        name = f" {statement.name}" if statement.name else ""
        standing = statement.standing or "nothing said"
        if not own_checks:
            nothing = NO_CHECK if statement.kind in chapters.CLAIMS else "–"
            rows.append(f"| {label}{_cell(name)} | {standing} | {nothing} | | |")
        for check in own_checks:
            rows.append(f"| {label}{_cell(name)} | {standing} | {_check_cells(check)} |")
            label, name, standing = "", "", ""
    for label, others in checks.items():
        for check in others:
            rows.append(f"| {_cell(label)} | | {_check_cells(check)} |")
    return "\n".join(rows)


def _check_cells(check):
    return f"{_cell(check['claim'])} | {check['error']:.2g} | {check['tolerance']:g}"


def _cell(text):
    """Plain text inside a Markdown table; mathematics between dollars stays mathematics."""
    parts = text.split("$")
    if len(parts) % 2 == 0:
        parts = [text.replace("$", r"\$")]
    for i in range(0, len(parts), 2):
        for sign in "|*_<[":
            parts[i] = parts[i].replace(sign, "\\" + sign)
    for i in range(1, len(parts), 2):
        parts[i] = parts[i].replace("|", r"\vert ")
    return "$".join(parts)


def setup(app):
    app.add_directive("claims-ledger", ClaimsLedger)
    app.add_directive("chapter-cards", ChapterCards)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
