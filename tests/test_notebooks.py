"""The stored notebooks obey every rule, and every rule notices when it is broken."""

import tomllib

import chapters
import execute
import pytest
import rules
import synthetic
import yaml

STORED = {path.name: chapters.read(path) for path in chapters.paths()}


@pytest.fixture(scope="module")
def book():
    url = yaml.safe_load((chapters.ROOT / "_config.yml").read_text())["repository"]["url"]
    project = tomllib.loads((chapters.ROOT / "pyproject.toml").read_text())["project"]
    return rules.Book(STORED, url, project["version"])


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", STORED)
def test_rule(name, rule, book):
    if problems := list(rule(STORED[name], book)):
        pytest.fail("\n  ".join([name, *problems]), pytrace=False)


def test_the_table_of_contents_lists_every_notebook():
    toc = (chapters.ROOT / "_toc.yml").read_text()
    assert STORED, "there is no notebook"
    missing = [n for n in STORED if f"notebooks/{n.removesuffix('.ipynb')}\n" not in toc]
    assert not missing, f"_toc.yml does not list {', '.join(missing)}"


# Every rule on a small chapter in the right form, then with one thing broken ------------------


def markdown(old, new, cell=2):
    """Replace text in a Markdown cell."""

    def change(chapter):
        source = chapter.notebook.cells[cell].source
        assert old in source
        chapter.notebook.cells[cell].source = source.replace(old, new, 1)

    return change


def code(cell, **attributes):
    """Replace attributes of a code cell."""
    return lambda chapter: chapter.notebook.cells[cell].update(attributes)


def output(cell, position, **parts):
    """Replace parts of one output of a code cell."""
    return lambda chapter: chapter.notebook.cells[cell].outputs[position].update(parts)


def metadata(**values):
    return lambda chapter: chapter.notebook.metadata.update(values)


def tags(cell, *names):
    return lambda chapter: chapter.notebook.cells[cell].metadata.update(tags=list(names))


BREAKS = {
    "gap in the numbers": ("statement_numbers", markdown("> **Theorem 1.2", "> **Theorem 1.3")),
    "number twice": ("statement_numbers", markdown("> **Theorem 1.2", "> **Theorem 1.1")),
    "exercise out of order": ("statement_numbers", markdown("Exercise 1.1", "Exercise 1.3")),
    "box in another form": ("statement_numbers", markdown("1.2 (Main, in $X$).**", "1.2**:")),
    "no anchor": ("statement_anchors", markdown('<a id="thm-main"></a>\n', "")),
    "wrong prefix": ("statement_anchors", markdown('id="thm-main"', 'id="lem-main"')),
    "anchor twice": ("statement_anchors", markdown('id="ex-first"', 'id="def-map"')),
    "no line below anchor": ("statement_anchors", markdown('map"></a>\n\n', 'map"></a>\n')),
    "no proof": ("statement_standing", markdown("**Proof.** Obvious.", "Obvious.")),
    "mention of nothing": ("statement_mentions", markdown("[Theorem 1.2]", "Lemma 1.7, [it]")),
    "link to another number": (
        "statement_mentions",
        markdown("[Theorem 1.2](#thm-main)", "[Theorem 1.2](#def-map)"),
    ),
    "gap in equations": ("equation_numbers", markdown(r"\tag{1.2}", r"\tag{1.3}")),
    "equation twice": ("equation_numbers", markdown(r"\tag{1.2}", r"\tag{1.1}")),
    "missing tag": ("equation_numbers", markdown(r"\tag{1.2}", "")),
    "reference to nothing": ("equation_numbers", markdown("By (1.1)", "By (1.1), (1.9)")),
    "broken link": ("links", markdown("(#thm-main)", "(#thm-other)")),
    "broken link to a chapter": ("links", markdown("(#thm-main)", "(09_none.ipynb#thm-main)")),
    "broken anchor of a chapter": ("links", markdown("(#thm-main)", "(01_small.ipynb#thm-x)")),
    "display on two lines": ("mathematics", markdown("> $$ A(X) = b", "> $$\n> A(X) = b")),
    "label": ("mathematics", markdown(r"\tag{1.2}", r"\label{e}")),
    "directive": ("plain_markdown", markdown("So much", "```{note}\nNo.\n```\n\nSo much")),
    "role": ("plain_markdown", markdown("So much", "See {ref}`there`. So much")),
    "no promise": ("header", markdown("*What it promises.*", "What it promises.", cell=0)),
    "badge elsewhere": ("header", markdown("blob/main", "blob/dev", cell=0)),
    "badge of another chapter": ("header", markdown("01_small", "02_small", cell=0)),
    "no download": ("header", markdown("[Download]", "[Load]", cell=0)),
    "two objectives": ("header", markdown("- count.\n", "", cell=0)),
    "no time": ("header", markdown("**Time:**", "Time:", cell=0)),
    "title without number": ("header", markdown("# 1. A", "# A", cell=0)),
    "sections": ("sections", markdown("## Summary", "## Epilogue", cell=5)),
    "altered set-up cell": ("set_up_cell", code(1, source=synthetic.SETUP + "\n")),
    "set-up of another fork": (
        "set_up_cell",
        code(1, source=synthetic.SETUP.replace(synthetic.URL, "https://github.com/x/y")),
    ),
    "set-up of another release": (
        "set_up_cell",
        code(1, source=synthetic.SETUP.replace("0.1.0", "0.0.9")),
    ),
    "set-up without tags": ("set_up_cell", tags(1)),
    "missing output": ("stored_outputs", code(3, outputs=[])),
    "missing figure": ("stored_outputs", code(4, outputs=[])),
    "not executed": ("stored_outputs", code(3, execution_count=None)),
    "stderr": ("stored_outputs", output(3, 0, output_type="stream", name="stderr", text="!")),
    "error": ("stored_outputs", output(3, 0, output_type="error")),
    "ignored output": ("ignored_outputs", tags(3, "nbval-ignore-output")),
    "skipped cell": ("ignored_outputs", tags(3, "nbval-skip")),
    "ignored by comment": ("ignored_outputs", code(3, source="# NBVAL_IGNORE_OUTPUT\n1")),
    "false animation": ("ignored_outputs", tags(3, "animation", "nbval-ignore-output")),
    "no check": ("checks", output(3, 0, metadata={})),
    "check of nothing": (
        "checks",
        output(3, 0, metadata={"flatlib": {"statement": "Lemma 1.9", "error": 0, "tolerance": 0}}),
    ),
    "failed check": (
        "checks",
        output(
            3, 0, metadata={"flatlib": {"statement": "Theorem 1.2", "error": 2, "tolerance": 1}}
        ),
    ),
    "missing alt": ("figures", output(4, 0, metadata={})),
    "number of a figure": (
        "figures",
        output(
            4,
            0,
            metadata={"flatlib": {"role": "figure", "caption": "Figure 1.2. A.", "alt": "A."}},
        ),
    ),
    "mention of no figure": ("figures", markdown("Figure 1.1", "Figure 1.7")),
    "image without alt": ("figures", markdown("So much", "![](x.png) So much")),
    "no run time": ("size", metadata(flatlib={})),
    "slow": ("size", metadata(flatlib={"run_seconds": 75})),
    "another run time": ("size", metadata(flatlib={"run_seconds": 20})),
}


@pytest.fixture
def small(tmp_path):
    chapter, first = synthetic.chapter(tmp_path), synthetic.chapter(tmp_path, 0, "first")
    shelf = {first.path.name: first, chapter.path.name: chapter}
    return chapter, rules.Book(shelf, synthetic.URL, synthetic.VERSION)


def broken_rules(chapter, book):
    return {rule.__name__ for rule in rules.RULES if list(rule(chapter, book))}


def test_the_small_chapter_obeys_every_rule(small):
    assert not [problem for rule in rules.RULES for problem in rule(*small)]


@pytest.mark.parametrize("what", BREAKS)
def test_a_rule_notices(what, small):
    chapter, book = small
    rule, change = BREAKS[what]
    change(chapter)
    assert rule in broken_rules(chapter, book)


def test_every_rule_is_broken_once():
    assert {rule for rule, _ in BREAKS.values()} == {rule.__name__ for rule in rules.RULES}


def test_a_large_file_is_noticed(small, monkeypatch):
    chapter, book = small
    synthetic.write(chapter)
    assert not list(rules.size(chapter, book))
    monkeypatch.setattr(rules, "LARGEST_FILE", 100)
    assert list(rules.size(chapter, book))


# What the tools read and write ----------------------------------------------------------------


def test_reading_a_chapter(small):
    chapter, _ = small
    assert (chapter.number, chapter.promise, chapter.minutes) == ("1", "What it promises.", "60")
    assert [s.label for s in chapter.statements] == [
        "Definition 1.1",
        "Theorem 1.2",
        "Exercise 1.1",
    ]
    assert [s.anchor for s in chapter.statements] == ["def-map", "thm-main", "ex-first"]
    assert [s.standing for s in chapter.statements] == ["nothing to prove", "proved", "exercise"]
    assert chapter.statements[1].name == "Main, in $X$"
    assert chapter.tags == ["1.1", "1.2"] and chapter.captions == ["1.1"]


@pytest.mark.parametrize(
    ("text", "standing"),
    [
        ("**Proof.** Obvious.", "proved"),
        ("We cite this from Recht (2010).", "cited"),
        ("Certified below on an instance.", "certified on an instance"),
        ("This is only observed.", "observed"),
        ("So it goes.", ""),
    ],
)
def test_standing_of_a_claim(small, text, standing):
    chapter, _ = small
    markdown("**Proof.** Obvious. $\\square$", text)(chapter)
    assert chapter.statements[1].standing == standing


def test_normalising_records_and_states_the_run_time(small):
    chapter, book = small
    notebook = chapter.notebook
    notebook.cells[3].metadata["execution"] = {"started": "now"}
    execute.normalise(notebook, 33.4)
    assert notebook.metadata.flatlib.run_seconds == 35
    assert "the code runs in about 35 s" in notebook.cells[0].source
    assert notebook.cells[3].metadata == {}
    assert not list(rules.size(chapter, book))
