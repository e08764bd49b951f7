"""A chapter's buttons open the notebook for readers, not the pair that the page was made from."""

import shutil
from pathlib import PurePosixPath
from typing import Any

from sphinx.application import Sphinx

FOLDER = "notebooks"
AFTER_THE_THEME = 900


def point(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Let all buttons of a chapter lead to its notebook, if the book has notebooks."""
    if page.startswith("chapters/") and (app.srcdir / FOLDER).is_dir():
        notebook = f"{FOLDER}/{PurePosixPath(page).name}.ipynb"
        for group in context.get("header_buttons", []):
            if group.get("label") == "launch-buttons":
                for button in group["buttons"]:
                    button["url"] = button["url"].replace(f"{page}.ipynb", notebook)
            elif group.get("label") == "download-buttons":
                group["buttons"] = _downloads(group["buttons"], context["pathto"](notebook, 1))


def _downloads(buttons: list[dict[str, str]], address: str) -> list[dict[str, str]]:
    """The notebook in place of what the page was made from; paper stays."""
    (source,) = (button for button in buttons if button["label"] == "download-source-button")
    source |= {"url": address, "text": ".ipynb", "tooltip": "Download this chapter to run it"}
    kept = ("download-source-button", "download-pdf-button")
    return [button for button in buttons if button["label"] in kept]


def bring(app: Sphinx, exception: Exception | None) -> None:
    """Put the notebooks beside the pages."""
    if exception is None and app.builder.format == "html" and (app.srcdir / FOLDER).is_dir():
        (app.outdir / FOLDER).mkdir(exist_ok=True)
        for notebook in (app.srcdir / FOLDER).glob("*.ipynb"):
            shutil.copy(notebook, app.outdir / FOLDER)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both; Sphinx calls this."""
    app.connect("html-page-context", point, priority=AFTER_THE_THEME)
    app.connect("build-finished", bring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
