"""A small chapter in the right form, for tests that break it."""

import chapters
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

URL = "https://github.com/flat-minima/flat-minima-course"
VERSION = "0.1.0"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9Q"
    "DwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

HEADER = """\
# {n}. A small chapter

*What it promises.*

[Open in Colab](https://colab.research.google.com/github/{slug}/blob/main/notebooks/{name}) · \
[Download](https://github.com/{slug}/raw/main/notebooks/{name})

**You will be able to**

- read,
- write,
- count.

**Before you start:** nothing.

**Time:** 60 minutes of reading and doing; the code runs in about 5 s on two CPU cores. \
No GPU needed.
"""

BODY = r"""
## Statements

<a id="def-map"></a>

> **Definition {n}.1 (Map).** A map $A$ with
>
> $$ A(X) = b \tag{{{n}.1}} $$

By ({n}.1) and [Theorem {n}.2](#thm-main), seen in Figure {n}.1:

<a id="thm-main"></a>

> **Theorem {n}.2 (Main, in $X$).** All is well.

**Proof.** Obvious. $\square$

$$
\begin{{aligned}} a &= b \\ &= c \end{{aligned}} \tag{{{n}.2}}
$$

So much for ({n}.2).

<a id="ex-first"></a>

> **Exercise {n}.1 (★ First).** Do it.

<details><summary>Hint</summary>

Think of $x$.

</details>
"""

SETUP = f'REPOSITORY, TAG = "{URL}", "v{VERSION}"\nimport flatlib as fl\n\nfl.setup_notebook()'


def chapter(folder, number=1, name="small"):
    """A chapter in the right form, which exists in `folder` only once it is written there."""
    path = folder / f"{number:02d}_{name}.ipynb"
    slug = URL.removeprefix("https://github.com/")
    record = {
        "statement": f"Theorem {number}.2",
        "claim": "a norm |X|_* and $x_1$",
        "error": 1e-12,
        "tolerance": 1e-10,
    }
    caption = {"role": "caption", "caption": f"Figure {number}.1. A point $x$."}
    figure = {"role": "figure", "caption": caption["caption"], "alt": "A point."}
    cells = [
        new_markdown_cell(HEADER.format(n=number, slug=slug, name=path.name)),
        _code(SETUP, [_text("ready")], tags=["setup", "nbval-ignore-output"]),
        new_markdown_cell(BODY.format(n=number)),
        _code(f'fl.check("Theorem {number}.2", "a norm", 1e-12, 1e-10)', [_text("✓", record)]),
        _code(
            f'fl.show(fig, "{caption["caption"]}", alt="A point.")',
            [
                new_output(
                    "display_data",
                    data={"image/png": PIXEL, "text/plain": "A point."},
                    metadata={"flatlib": figure, "image/png": {"alt": "A point."}},
                ),
                new_output(
                    "display_data",
                    data={"text/markdown": f"*{caption['caption']}*", "text/plain": "caption"},
                    metadata={"flatlib": caption},
                ),
            ],
        ),
        new_markdown_cell(
            "## Exercises\n\nAbove.\n\n## Summary\n\nGood.\n\n## References\n\nNone."
        ),
    ]
    for position, cell in enumerate(cells):
        cell.id = f"cell-{position:03d}"
    for count, cell in enumerate((c for c in cells if c.cell_type == "code"), 1):
        cell.execution_count = count
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
        "flatlib": {"run_seconds": 5},
    }
    return chapters.Chapter(path, new_notebook(cells=cells, metadata=metadata))


def write(chapter):
    nbformat.write(chapter.notebook, chapter.path)


def _code(source, outputs, tags=None):
    return new_code_cell(source, outputs=outputs, metadata={"tags": tags} if tags else {})


def _text(text, record=None):
    metadata = {"flatlib": record} if record else {}
    return new_output("display_data", data={"text/plain": text}, metadata=metadata)
