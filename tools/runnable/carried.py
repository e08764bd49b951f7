"""Files that a chapter reads beside the library come along inside its notebook.

In its code such a file is a string that begins with "../", seen from the chapter's folder.  A
cell of the notebook writes it where the notebook runs, so that it is found from any folder.
"""

import ast
import posixpath
from pathlib import Path

TITLE = "# Data that this chapter reads beside the library"


def read_beside(code: str) -> set[str]:
    """The files, as a cell's code names them."""
    constants = (node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str) and value.startswith("../")}


def beside_the_notebook(code: str) -> str:
    """The code of a cell that reads the same files from the notebook's own folder."""
    for name in read_beside(code):
        code = code.replace(f'"{name}"', f'"{posixpath.basename(name)}"')
    return code


def data_cell(names: set[str], folder: Path) -> str:
    """Code that writes some files, given how a chapter in a folder names them.

    Raises
    ------
    OSError
        If one cannot be read.
    """
    lines = [TITLE, "from pathlib import Path", ""]
    for name in sorted(names):
        text = (folder / name).read_text()
        lines.append(f'Path("{posixpath.basename(name)}").write_text("""\\\n{_literal(text)}""");')
    return "\n".join(lines)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', r"\"\"\"")
