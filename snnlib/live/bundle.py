"""The lab's files as one script and one style sheet, for a page and for JupyterLab.

A page opened from a disk may load no module, so everything is inlined: the modules are
joined in the order in which they use each other, without their import lines.
"""

import re
from pathlib import Path

FOLDER = Path(__file__).parent
MODULES = (
    *("network.mjs", "encoding.mjs", "synapses.mjs", "simulation.mjs", "neuron.mjs"),  # pure
    *("drawing.mjs", "address.mjs"),  # pure
    *("painting.mjs", "dom.mjs", "pad.mjs", "controls.mjs", "views.mjs", "inquiry.mjs"),
    *("lab.mjs", "mount.mjs"),
)
STYLE = "lab.css"
IMPORT = re.compile(r"^import\b[^;]*;\n", re.MULTILINE)


def files() -> list[Path]:
    """Everything that the lab on a page is made of."""
    return [FOLDER / name for name in (*MODULES, STYLE)]


def script() -> str:
    """The lab as one module, safe inside a ``<script type="module">``.

    Its default export is what anywidget calls; on a page it also mounts every lab there.
    """
    texts = [IMPORT.sub("", (FOLDER / name).read_text()) for name in MODULES]
    return re.sub(r"</(?=script)", r"<\\/", "\n".join(texts), flags=re.IGNORECASE)


def style() -> str:
    """The lab's style sheet."""
    return (FOLDER / STYLE).read_text()
