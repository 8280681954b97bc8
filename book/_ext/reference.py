"""The library reference: docstrings as plain text.

The docstrings of `flatlib` are read in a terminal and in an editor. They write |X|_F, A* and D_1 as
one reads them, which reStructuredText would take for markup. This extension escapes such signs,
shows names in backticks as code, and sets indented formulas as they stand.
"""

import re

LITERAL = re.compile(r"(``.+?``|`[^`]+?`)")
TITLE = re.compile(r"^\s*[-=~]{3,}\s*$")


def escape(text):
    """One line of a docstring in which only names in backticks are markup."""
    parts = LITERAL.split(text)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"``{part.strip('`')}``"
        else:
            parts[i] = re.sub(r"([*|\\]|_(?!\w))", r"\\\1", part)
    return "".join(parts)


def convert(lines):
    """A docstring with formulas as literal blocks and all other lines escaped."""
    result = []
    formula = None  # indentation of the literal block that we are in
    text_indent = 0
    blank = True
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if not line.strip():
            result.append("")
            blank = True
            continue
        if formula is not None and indent < formula:
            formula = None
        if formula is None and blank and result and indent >= text_indent + 4:
            formula = indent
            result += [" " * text_indent + "::", ""]
        if formula is None:
            text_indent = indent
            result.append(line if TITLE.match(line) else escape(line))
        else:
            result.append(line)
        blank = False
    return result


def _process(app, what, name, obj, options, lines):
    lines[:] = convert(lines)


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("autodoc-process-docstring", _process, priority=100)  # before napoleon
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
