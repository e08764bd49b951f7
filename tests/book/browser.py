"""A browser for the tests of the built book: found on the machine, and kept from the network."""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).parent.parent.parent
HTML = ROOT / "_build" / "html"
PROGRAMS = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser")
# Chrome as root has no sandbox; no name but this machine's is looked up, not even by Chrome itself
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]

READY = """async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
}"""

FRAMES = "() => new Promise((on) => requestAnimationFrame(() => requestAnimationFrame(on)))"

# What the theme itself writes to the console of every page; nothing else may be there.
KNOWN = {"error: Got invalid theme mode: . Resetting to auto."}


def find_browser() -> str | None:
    """The program named by the variable CHROMIUM, else the first that there is."""
    named = os.environ.get("CHROMIUM")
    return next(filter(None, map(shutil.which, [named] if named else PROGRAMS)), None)


def listed_pages() -> list[str]:
    """The pages that the table of contents names, root first."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *chapters]


@contextmanager
def launched() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield browser
        browser.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, on a web server of this machine."""
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass
class Visit:
    """An open page, with all that it asked for and complained of."""

    page: Page
    outside: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self._note(request.url))
        self.page.on("websocket", lambda socket: self.outside.append(socket.url))
        self.page.on("requestfailed", lambda request: self.failed.append(request.url))
        self.page.on("response", lambda r: self.failed.append(r.url) if r.status >= 400 else None)
        self.page.on("console", lambda m: self._hear(m) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("file", "data", "blob") and parts.hostname != "127.0.0.1":
            self.outside.append(url)

    def _hear(self, message) -> None:
        self.messages.append(f"{message.type}: {message.text}")

    def surprises(self) -> list[str]:
        """What the page complained of, less what every page of the theme does."""
        return [text for text in [*self.messages, *self.errors] if text not in KNOWN]


def visit(context: BrowserContext, address: str) -> Visit:
    """Open a page and wait until its fonts are there and its formulas drawn."""
    visit = Visit(context.new_page())
    visit.page.goto(address, wait_until="load")
    visit.page.evaluate(READY)
    return visit


def redrawn(page: Page) -> None:
    """Wait until a change of size, theme or focus is drawn."""
    page.evaluate(FRAMES)
