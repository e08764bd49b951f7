"""What the theme and docutils write into every page, and no option of theirs fixes."""

from typing import Any

from sphinx.application import Sphinx

# docutils' roles for references: a deprecated one for each, not allowed inside the list's
OLD_LIST, NEW_LIST = 'role="doc-biblioentry"', 'role="listitem"'


def fix(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Leave scripts out that nothing uses; give references a role that screen readers know.

    The book has no Thebe button.  Its settings would still be written twice into each page,
    an error in the console, with the address of an outside host.  Nor does it show widgets,
    whose whole state, network and all, would be in the page.
    """
    scripts = context["script_files"]
    context["script_files"] = [script for script in scripts if not _is_unused(script)]
    if "body" in context:
        context["body"] = context["body"].replace(OLD_LIST, NEW_LIST)


def _is_unused(script: Any) -> bool:
    of_widgets = "widget-state" in script.attributes.get("type", "")
    return of_widgets or "thebe" in str(script.filename or script.attributes.get("body", ""))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the fixes; Sphinx calls this."""
    app.connect("html-page-context", fix)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
