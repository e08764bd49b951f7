"""Build the book: execute what changed, stop at any warning, check that pages came out.

The book takes outputs from a cache, which is filled here with the executed pairs that fit
(`digests.py`).  It finds a chapter by its code alone, whatever library ran it, so no build uses
what an earlier one left there.  The buttons that open a chapter elsewhere are added
here, once `_config.yml` says where the repository is.
"""

import argparse
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import digests
import yaml

ROOT = digests.ROOT
BUILD = ROOT / "_build"
BINDER = "https://mybinder.org"
COLAB = "https://colab.research.google.com"


def executions(build: Path = BUILD) -> Path:
    """An empty cache of executed chapters in a folder of builds."""
    cache = build / ".jupyter_cache"
    try:
        if cache.exists():
            shutil.rmtree(cache)
        cache.mkdir(parents=True)
    except OSError as error:
        sys.exit(
            f"error: {build} cannot be written ({error.strerror}). "
            "Work in a copy of this folder, or build elsewhere: make book OUT=~/book"
        )
    return cache


def repository(config: dict[str, Any]) -> str:
    """The repository's address as it is written in links, or nothing if there is none."""
    url = config["repository"]["url"].rstrip("/").removesuffix(".git")
    if url and not re.fullmatch(r"https://[\w.-]+(/[\w.-]+){2,}", url):
        sys.exit(f"_config.yml: repository.url is {url!r}; write https://github.com/OWNER/NAME")
    return url


def with_buttons(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with links to repository, Binder and Colab, if it has an address.

    The theme lets them open the .ipynb beside a page's .md, so each chapter needs its pair.
    """
    config = deepcopy(config)
    url = repository(config)
    if not url:
        return config
    config["repository"]["url"] = url
    config["html"]["use_repository_button"] = True
    config["launch_buttons"] |= {"notebook_interface": "jupyterlab", "binderhub_url": BINDER}
    if url.startswith("https://github.com/"):  # Colab reads no other host
        config["launch_buttons"]["colab_url"] = COLAB
    return config


def jupyter_book(source: Path, config: dict[str, Any], output: Path | None = None) -> int:
    """Build the book in a folder, every warning an error; return jupyter-book's exit status."""
    output = output or source
    settings = output / "_build" / "config.yml"
    settings.parent.mkdir(exist_ok=True)
    config = deepcopy(config)
    for name, folder in config["sphinx"]["local_extensions"].items():  # seen from anywhere
        config["sphinx"]["local_extensions"][name] = str(source.absolute() / folder)
    settings.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    command = [Path(sys.executable).with_name("jupyter-book"), "build", "."]
    command += ["--config", settings, "--path-output", output, "-n", "-W", "--keep-going", "--all"]
    return subprocess.run(command, cwd=source, env=digests.environment()).returncode


def build(output: Path) -> int:
    """Build the course's book in a folder's `_build`; return jupyter-book's exit status."""
    cache = executions(output / "_build")
    for name in digests.fill(cache, ROOT):
        print(f"{name} will be executed: its notebook is not up to date (see: make notebooks)")
    shutil.rmtree(output / "_build" / "html", ignore_errors=True)  # old pages hide warnings
    config = with_buttons(yaml.safe_load((ROOT / "_config.yml").read_text()))
    config["execute"]["cache"] = str(cache)
    return jupyter_book(ROOT, config, output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT, help="where `_build` is to be")
    return build(parser.parse_args().output.expanduser().absolute())


if __name__ == "__main__":
    sys.exit(main())
