"""What the theme and docutils write into every page, and no option of theirs mends."""

from typing import Any

from sphinx.application import Sphinx

# docutils' roles for references: a deprecated one for each, not allowed inside the list's
OLD_LIST, NEW_LIST = 'role="doc-biblioentry"', 'role="listitem"'


def mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Leave Thebe's scripts out, and give references a role that screen readers know.

    The book has no Thebe button.  Its settings would still be written twice into each page,
    an error in the console, with the address of an outside host.
    """
    scripts = context["script_files"]
    context["script_files"] = [script for script in scripts if not _is_of_thebe(script)]
    if "body" in context:
        context["body"] = context["body"].replace(OLD_LIST, NEW_LIST)


def _is_of_thebe(script: Any) -> bool:
    return "thebe" in str(script.filename or script.attributes.get("body", ""))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the mends; Sphinx calls this."""
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
