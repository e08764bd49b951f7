"""The directive ``{snn-lab}``, which puts the live lab into a page of the book.

    ```{snn-lab}
    :view: decision
    :rate: 0.8

    ![What one run looks like](picture.png) Shown without JavaScript and on paper.
    ```

``view`` names what is shown, one of `options.VIEWS`; ``panels``, ``sliders``, ``layers`` and
``label`` (for screen readers) replace parts of it.  ``digit``, ``steps``, ``threshold``,
``rate``, ``seed``, ``step``, ``layer`` and ``neuron`` are the text's own settings, to which
*Reset settings* returns.  Network and samples are those of `exhibit`.  Script and style sheet
come once a page, inlined: a page opened from a disk may load no module.
"""

import base64
import json
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from snnlib.export.lab import lab_network
from snnlib.live import bundle
from snnlib.live.exhibit import exhibited_network, exhibited_samples
from snnlib.live.options import CHOICES, SETTINGS, lab_options


class snn_lab(nodes.General, nodes.Element):  # noqa: N801 - docutils names nodes so
    """A lab; its children are shown where there is no JavaScript, and on paper."""


class LiveLabDirective(SphinxDirective):
    """See the module."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        **dict.fromkeys([*CHOICES, "layers"], str.split),
        **dict.fromkeys(["view", "label"], str.strip),
        **SETTINGS,
    }

    def run(self) -> list[nodes.Node]:
        """One node; the page is built again when a file of the lab changes."""
        if not self.content:
            raise self.error("snn-lab has no content; say what is seen without JavaScript.")
        for path in bundle.files():
            self.env.note_dependency(str(path))
        try:
            lab = snn_lab(given=lab_options(self.options))
        except ValueError as wrong:
            raise self.error(str(wrong)) from wrong
        self.state.nested_parse(self.content, self.content_offset, lab)
        return [lab]


def payload(given: dict[str, Any]) -> str:
    """What a page hands to the lab, as JSON that is safe inside a script element."""
    network = base64.b64encode(lab_network(exhibited_network())).decode()
    samples = [
        {**sample, "pixels": base64.b64encode(sample["pixels"]).decode()}
        for sample in exhibited_samples()
    ]
    text = json.dumps({**given, "network": network, "samples": samples}, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def visit_html(self: HTML5Translator, node: snn_lab) -> None:
    """The element that the lab fills, with what it needs, and what stands in for it."""
    self.body.append('<div class="snn-lab-host">\n')
    self.body.append(f'<script type="application/json">{payload(node["given"])}</script>\n')
    self.body.append('<div class="snn-lab-fallback">\n')


def depart_html(self: HTML5Translator, node: snn_lab) -> None:
    """Script and style sheet follow the page's last lab."""
    self.body.append("</div>\n</div>\n")
    if node is list(node.document.findall(snn_lab))[-1]:
        self.body.append(f"<style>\n{bundle.style()}</style>\n")
        self.body.append(f'<script type="module">\n{bundle.script()}</script>\n')


def visit_other(self: Any, node: snn_lab) -> None:
    """Other builders show the children only."""


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    nothing = (visit_other, visit_other)
    app.add_node(snn_lab, html=(visit_html, depart_html), latex=nothing, text=nothing, man=nothing)
    app.add_directive("snn-lab", LiveLabDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
