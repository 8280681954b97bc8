"""Draw the card that a link to the book shows elsewhere: book/_static/card.png.

Usage: python tools/card.py [FILE]

The picture is the smallest example of the course. The loss (xy - 1)² vanishes on a hyperbola,
where the trace of its Hessian is 2(x² + y²). The flatter a point of the hyperbola, the brighter it
is; the star is the flattest. The fonts are those that come with matplotlib.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba

CARD = Path(__file__).resolve().parents[1] / "book" / "_static" / "card.png"
WIDTH, HEIGHT = 1200, 630  # what social networks show uncut
LEFT, RIGHT, BOTTOM, TOP = -4.14, 2.72, -0.12, 3.48  # the part of the plane in the picture

INK, PAPER, MUTED, STAR = "#0a1826", "#f3f6f9", "#bcd3e3", "#ffa94d"
SEA = LinearSegmentedColormap.from_list("sea", ["#2a6f97", "#1b4f72", "#123a57", "#0d2940", INK])
GLOW = LinearSegmentedColormap.from_list("glow", ["#3f88b5", "#9fd3e6", "#ffffff"])

TEXT = [  # left, bottom, words, size, style
    (0.055, 0.66, "Flat minima and", 66, {"color": PAPER, "weight": "bold"}),
    (0.055, 0.51, "generalization", 66, {"color": PAPER, "weight": "bold"}),
    (0.057, 0.385, "A case study in low-rank matrix recovery", 29, {"color": MUTED}),
    (0.057, 0.1, "An executable course, with a small JAX library", 27, {"color": STAR}),
]


def draw():
    """The card, as a figure of matplotlib."""
    figure = plt.figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(LEFT, RIGHT), ylim=(BOTTOM, TOP))
    axes.axis("off")

    x, y = np.meshgrid(np.linspace(LEFT, RIGHT, WIDTH), np.linspace(BOTTOM, TOP, HEIGHT))
    depth = np.log10(1e-3 + (x * y - 1) ** 2)
    axes.contourf(x, y, depth, levels=np.linspace(-3, 1.3, 16), cmap=SEA, extend="both")

    curve = np.geomspace(0.25, 4, 600)
    points = np.stack([curve, 1 / curve], axis=1)
    flatness = 2 / (points**2).sum(axis=1)  # 1 at the star
    pieces = np.stack([points[:-1], points[1:]], axis=1)
    colors = GLOW(flatness**0.6)
    axes.add_collection(LineCollection(pieces, colors=colors, linewidths=5, capstyle="round"))
    axes.plot(1, 1, "*", markersize=50, color=STAR, markeredgecolor=INK)

    # A shade on the left, behind the words.
    shade = np.tile(to_rgba(INK), (1, WIDTH, 1))
    shade[0, :, 3] = np.interp(np.linspace(0, 1, WIDTH), [0.35, 0.65], [0.96, 0])
    axes.imshow(shade, extent=(LEFT, RIGHT, BOTTOM, TOP), aspect="auto", zorder=3)
    for left, bottom, words, size, style in TEXT:
        figure.text(left, bottom, words, fontsize=size, family="STIXGeneral", **style)
    return figure


if __name__ == "__main__":
    draw().savefig(sys.argv[1] if len(sys.argv) > 1 else CARD)
