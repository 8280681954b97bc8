"""The library reference: docstrings as plain text.

The docstrings of `flatlib` are read in a terminal and in an editor. They write |X|_F, A* and D_1 as
one reads them, which reStructuredText would take for markup. This extension escapes such signs,
shows names in backticks as code, sets indented formulas as they stand, and turns the sections of
NumPy's style into lists (entries `name : description`) or paragraphs.
"""

import re

LITERAL = re.compile(r"(``.+?``|`[^`]+?`)")
ENTRY = re.compile(r"(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*) : (?P<text>.*)")
UNDERLINE = re.compile(r"-{3,}$")
INDENT = "    "


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
    """A docstring as reStructuredText."""
    result, entry, formula = [], False, False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        blank_before = not result or not result[-1]
        indented = line.startswith(INDENT)
        if line.strip():
            formula = indented and (formula or (blank_before and not entry))
        if UNDERLINE.match(line):
            continue
        if not line.strip():
            result.append("")
        elif formula:
            opens = not any(previous.startswith((INDENT, "::")) for previous in result[-2:])
            result += ["::", "", line] if opens else [line]
        elif UNDERLINE.match(following):
            result += [f"**{line.strip()}**", ""]
            entry = False
        elif found := ENTRY.match(line):
            names = ", ".join(f"``{name}``" for name in found["names"].split(", "))
            result.append(f"- {names}: {escape(found['text'])}")
            entry = True
        else:
            entry = entry and indented
            result.append("  " * entry + escape(line.strip()))
    return result


def _process(app, what, name, obj, options, lines):
    lines[:] = convert(lines)


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", _process)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
