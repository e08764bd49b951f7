"""Build the book: execute what changed, stop at any warning, check that pages came out.

Sphinx caches executed chapters by their text alone.  A changed library must run
them again, so its fingerprint is kept beside the cache.  The buttons that open a
chapter elsewhere are added here, once `_config.yml` says where the repository is.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "_build"
BINDER = "https://mybinder.org"
RESULTS = "benchmarks/results"  # which a page of the appendix reads
COLAB = "https://colab.research.google.com"


def fingerprint() -> str:
    """Changes whenever the library, its data, the pinned packages or the benchmarks' results do."""
    digest = hashlib.sha256()
    files = [p for p in (ROOT / "snnlib").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    results = [p for p in (ROOT / RESULTS).iterdir() if p.is_file()]
    for path in sorted([*files, *results, ROOT / "requirements.txt", ROOT / "constraints.txt"]):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def forget_stale_executions(folder: Path = BUILD) -> None:
    mark = folder / "library.sha256"
    if not mark.exists() or mark.read_text() != fingerprint():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.write_text(fingerprint())


def with_buttons(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with links to repository, Binder and Colab, if it has an address.

    The theme lets them open the .ipynb beside a page's .md, so each chapter needs its pair.
    """
    config = deepcopy(config)
    url = config["repository"]["url"].rstrip("/").removesuffix(".git")
    if not url:
        return config
    if not re.fullmatch(r"https://[\w.-]+(/[\w.-]+){2,}", url):
        sys.exit(f"_config.yml: repository.url is {url!r}; write https://github.com/OWNER/NAME")
    config["repository"]["url"] = url
    config["html"]["use_repository_button"] = True
    config["launch_buttons"] |= {"notebook_interface": "jupyterlab", "binderhub_url": BINDER}
    if url.startswith("https://github.com/"):  # Colab reads no other host
        config["launch_buttons"]["colab_url"] = COLAB
    return config


def jupyter_book(source: Path, config: dict[str, Any]) -> int:
    """Build the book in a folder, every warning an error; return jupyter-book's exit status."""
    settings = source / "_build" / "config.yml"
    settings.parent.mkdir(exist_ok=True)
    config = deepcopy(config)
    for name, folder in config["sphinx"]["local_extensions"].items():  # seen from the settings
        config["sphinx"]["local_extensions"][name] = f"../{folder}"
    settings.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "--config", settings]
    command += ["-n", "-W", "--keep-going", "--all"]
    # two threads that spin stand still on a busy machine
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=source, env=one_thread).returncode


def main() -> int:
    forget_stale_executions()
    shutil.rmtree(BUILD / "html", ignore_errors=True)  # old pages would hide their warnings
    return jupyter_book(ROOT, with_buttons(yaml.safe_load((ROOT / "_config.yml").read_text())))


if __name__ == "__main__":
    sys.exit(main())
