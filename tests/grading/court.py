"""A judge without a notebook: functions of a test are the student's."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

from grading.judging.serve import serve
from grading.referee import Referee
from grading.sandbox import Limits


class Court:
    """A judge's process, and a student's side in a thread of this one."""

    def __init__(self, script: list[dict], seconds: int = 20) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="c", dir="/tmp")
        self.script = script
        self.seconds = seconds
        limits = Limits(cell_seconds=seconds)
        self.referee = Referee(script, Path(self._folder.name), limits, sandboxed=False)

    def run(self, name: str, server: Callable[[str], None]) -> str:
        """The error of a test that a server of this kind answers."""
        path = self.referee.ready(name)

        def work() -> None:
            with suppress(Exception):
                server(path)

        thread = Thread(target=work, daemon=True)
        thread.start()
        thread.join(2 * self.seconds)
        return self.referee.verdict()[0]

    def ask(self, name: str, names: dict[str, object]) -> str:
        """The error of a test, where the student has these functions."""
        return self.run(name, lambda path: serve(path, names))

    def judge(self, source: str, server: Callable | None = None, classes=(), **names) -> str:
        """The error of a test that is written here."""
        name = f"test {len(self.script)}"
        functions = [other for other in names if other not in classes]
        step = {"name": name, "test": source, "functions": functions, "classes": list(classes)}
        self.script.append(step)
        return self.run(name, server or (lambda path: serve(path, names)))

    def close(self) -> None:
        self.referee.close()
        self._folder.cleanup()
