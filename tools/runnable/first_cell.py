"""The cell that sets up what a chapter needs, wherever its notebook is opened.

The function's own text is what stands in the notebooks.  It must be read by any Python 3, even
one that is too old for the course, and it may leave no name behind.
"""

import ast
import inspect
import sys
from collections.abc import Iterable

TITLE = "# Set-up: it does nothing where the course is installed"


def set_up(needed, package, address, python=(3, 11)):
    """Install the course's library if something that this chapter imports is missing."""
    import importlib.util
    import os
    import subprocess
    import sys

    def missing():
        importlib.invalidate_caches()
        return [name for name in needed if importlib.util.find_spec(name) is None]

    if "google.colab" in sys.modules:  # it shows no live lab otherwise
        from google.colab import output

        output.enable_custom_widget_manager()
    if sys.version_info < python:
        here, least = ("{}.{}".format(*version) for version in (sys.version_info, python))
        print(f"This kernel runs Python {here}, and the course needs {least} or newer.")
        print("Choose another kernel: in JupyterLab, click on its name at the top right.")
    elif missing():
        clone = os.path.exists(os.path.join("..", "snnlib", "__init__.py"))
        source = package.replace("snnlib", "..", 1) if clone else f"{package} @ git+{address}"
        print("Installing the course's library, since", *missing(), "cannot be found here ...")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--retries=1", source]
        said = subprocess.run(command, capture_output=True, text=True) if clone or address else None
        if missing():
            print(*(said.stderr.splitlines()[-1:] if said else ["There is no address to ask."]))
            print("That did not work. With a network, run this cell again. Without one, choose")
            print("a kernel in whose environment the course is installed, as that of `make lab`.")
        else:
            print("Done.")


def first_cell(code: Iterable[str], package: str, extra: Iterable[str], address: str) -> str:
    """The cell for a chapter of some code.

    Parameters
    ----------
    code
        What all cells of the chapter say.
    package
        The library.
    extra
        What only the library's extra "interop" brings.
    address
        Of the repository, or nothing.
    """
    needed = sorted({name for cell in code for name in _imported(cell)} - sys.stdlib_module_names)
    package += "[interop]" if set(needed) & set(extra) else ""
    return f"{TITLE}\n{inspect.getsource(set_up)}\n\nset_up({needed!r}, {package!r}, {address!r})"


def _imported(code: str) -> set[str]:
    """Top-level names of the modules that a cell imports."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names
