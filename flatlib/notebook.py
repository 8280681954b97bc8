"""What a chapter needs to run and to be seen: set-up, figures and animations.

`setup_notebook` prepares a session, `show` displays a figure with its caption and a text
alternative, and `animate` displays precomputed frames in a small player that needs no kernel and
no network. Caption and alternative also travel in the output's metadata under "flatlib", where the
book's build finds them.
"""

import base64
import hashlib
import html
import io
import json
import pathlib
import re

# Okabe and Ito's palette, which all common kinds of colour vision tell apart; yellow comes last,
# because it is faint on a light page.
COLORS = {
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}

# Type that can be read when a phone shows the figure 360 px wide, on an opaque light face that
# suits a dark page as well.
STYLE = {
    "figure.figsize": (6.0, 3.8),
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "figure.facecolor": "#f8f8f5",
    "savefig.facecolor": "#f8f8f5",
    "figure.constrained_layout.use": True,
    "axes.facecolor": "#ffffff",
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.8,
    "font.size": 13,
    "axes.labelsize": 13,
    "axes.titlesize": 13,
    "figure.titlesize": 14,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.framealpha": 0.9,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
    "axes.prop_cycle": f"cycler(color={list(COLORS.values())})",
    "image.cmap": "viridis",
}

_FRAME_DPI = 90
_FRAME_COLORS = 128


def setup_notebook():
    """Turn on float64, set the figure style, and print versions and device.

    Call it before the first array is made: arrays made in float32 stay float32, and the library
    refuses them. It may be called again without harm.
    """
    import platform

    import jax
    import matplotlib
    import numpy

    import flatlib

    jax.config.update("jax_enable_x64", True)
    matplotlib.rcParams.update(STYLE)
    print(
        f"flatlib {flatlib.__version__}, JAX {jax.__version__}, NumPy {numpy.__version__}, "
        f"Python {platform.python_version()}, {jax.devices()[0].device_kind}"
    )


def show(fig, caption, alt):
    r"""Show a figure with its caption in a notebook, and close it.

    Parameters
    ----------
    fig : matplotlib Figure
    caption : Markdown text that begins with the figure's number: "Figure 4.1. ..."
    alt : what the figure shows, in a sentence, for readers who do not see it

    The image is a PNG with the text alternative in its metadata; the caption follows in italics.
    Outside a notebook only the caption is printed, and the figure stays open.

    Raises
    ------
    TypeError if `fig` is not a figure; ValueError for a caption without a number or an empty alt.
    """
    if not hasattr(fig, "savefig"):
        raise TypeError(f"`fig` must be a matplotlib Figure, but is a {type(fig).__name__}.")
    _figure_number(caption, alt)
    if not _in_notebook():
        print(caption)
        return
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    # The writer's version is left out of the file, so that it changes only with the picture.
    fig.savefig(buffer, format="png", bbox_inches="tight", metadata={"Software": None})
    plt.close(fig)
    image = base64.b64encode(buffer.getvalue()).decode()
    _display({"image/png": image, "text/plain": alt}, "figure", caption, alt)


def animate(draw, frames, caption, alt, *, fps=12, figsize=None, still=0):
    """Show precomputed frames in a player with a play button, a slider and keyboard control.

    Parameters
    ----------
    draw : function (fig, frame) that draws one frame on an empty matplotlib Figure, such as
        `ax = fig.subplots(); ax.plot(...)`; fix the limits of the axes, or the picture jumps
    frames : number of frames, or an iterable of what `draw` receives as `frame`
    caption, alt : as in `show`
    fps : frames per second
    figsize : width and height in inches; that of the figure style if not given
    still : index of the frame that is shown before playing and where scripts are off

    Nothing moves until the reader presses play. The frames are WebP images inside the output, so
    the player needs neither a kernel nor a network. Outside a notebook the caption is printed.

    Raises
    ------
    ValueError for a caption without a number, an empty alt, no frames, or `still` out of range.
    """
    number = _figure_number(caption, alt)
    frames = list(range(frames) if isinstance(frames, int) else frames)
    if not frames:
        raise ValueError("`frames` is empty: give at least one frame.")
    if not 0 <= still < len(frames):
        raise ValueError(f"`still` must index one of {len(frames)} frames, but is {still!r}.")
    if not fps > 0:
        raise ValueError(f"`fps` must be positive, but is {fps!r}.")
    if not _in_notebook():
        print(caption)
        return
    images, (width, height) = _render(draw, frames, figsize)
    markup = _player(number, images, width, height, caption, alt, fps, still)
    _display({"text/html": markup, "text/plain": alt}, "animation", caption, alt)


def _figure_number(caption, alt):
    """The "Figure 4.1" that a caption begins with; an error without one, or without an alt."""
    match = re.match(r"(Figure \d+\.\d+)\.\s+\S", caption)
    if not match:
        raise ValueError(f'`caption` must begin with "Figure N.M. ", but is {caption!r}.')
    if "\n" in caption:
        raise ValueError("`caption` must be a single line: it is set in italics.")
    if not alt.strip():
        raise ValueError("`alt` is empty: say in a sentence what the figure shows.")
    return match[1]


def _in_notebook():
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")


def _display(data, role, caption, alt):
    """Publish a picture with its metadata, then its caption in italics."""
    from IPython.display import display

    metadata = {"flatlib": {"role": role, "caption": caption, "alt": alt}}
    if "image/png" in data:
        metadata["image/png"] = {"alt": alt}
    display(data, raw=True, metadata=metadata)
    display(
        {"text/markdown": f"*{caption}*", "text/plain": caption},
        raw=True,
        metadata={"flatlib": {"role": "caption", "caption": caption}},
    )


def _render(draw, frames, figsize):
    """Draw every frame off screen: a list of WebP files, and their size in pixels."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    fig = Figure(figsize=figsize, dpi=_FRAME_DPI, layout="constrained")
    fig.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    canvas = FigureCanvasAgg(fig)
    images = []
    for frame in frames:
        fig.clear()
        draw(fig, frame)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        # A plot has few colours: a palette without dithering shrinks the file and keeps it crisp.
        # The octree keeps small marks and heat maps true to their colours; median cut does not.
        octree, undithered = Image.Quantize.FASTOCTREE, Image.Dither.NONE
        reduced = picture.quantize(_FRAME_COLORS, method=octree, dither=undithered).convert("RGB")
        buffer = io.BytesIO()
        reduced.save(buffer, "WEBP", lossless=True, method=4)
        images.append(buffer.getvalue())
    return images, picture.size


def _player(number, images, width, height, caption, alt, fps, still):
    """The markup of one animation: a still picture, the list of frames, style and script.

    The script builds the controls, so that a page without scripts shows the still alone. Frames
    may be any URLs: a build can move the images into files and list their addresses instead.
    """
    uris = ["data:image/webp;base64," + base64.b64encode(image).decode() for image in images]
    identifier = "fl-" + hashlib.sha256(caption.encode()).hexdigest()[:12]
    listing = json.dumps(uris, indent=0).replace("</", "<\\/")
    assets = pathlib.Path(__file__).parent
    return (
        f'<figure class="fl-animation" id="{identifier}" data-label="{number}" '
        f'data-fps="{fps:g}" data-still="{still}" data-lm-suppress-shortcuts="true" '
        f'style="max-width: {width}px">\n'
        f'<img src="{uris[still]}" alt="{html.escape(alt)}" width="{width}" height="{height}">\n'
        f'<script type="application/json" class="fl-frames">\n{listing}\n</script>\n'
        f"<style>\n{(assets / 'player.css').read_text()}</style>\n"
        f"<script>\n{(assets / 'player.js').read_text()}</script>\n"
        "</figure>"
    )
