"""A pair's digest fits only what made it; the book shows those pairs and executes the rest."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import build_book
import digests
import jupytext
import make_notebooks
import nbformat
import pytest
from nbformat.v4 import new_output

ROOT = Path(__file__).parent.parent.parent
HEADER = (ROOT / "chapters" / "01_load_the_digits.md").read_text().split("\n(ch")[0]
WHO = "import os\nprint('run by', os.environ['RUN_BY'])"


def cell(code: str) -> str:
    return f"```{{code-cell}} ipython3\n{code}\n```\n"


def write_chapter(folder: Path, name: str = "01_one", code: str = WHO) -> Path:
    source = folder / "chapters" / f"{name}.md"
    first = cell(f"{code}\n# {name}")  # or chapters would share their outputs
    source.write_text(f"{HEADER}\n# {name}\n\n{first}\nThen:\n\n{cell('1 + 1')}")
    return source


def write_surroundings(root: Path) -> None:
    """Stand in for all that a chapter reads."""
    for folder in ("chapters", "snnlib/assets", "benchmarks/results"):
        (root / folder).mkdir(parents=True)
    for name in ("requirements.txt", "constraints.txt", "snnlib/one.py", "snnlib/assets/data.npz"):
        (root / name).write_text("1")
    (root / "benchmarks/results/race.csv").write_text("1")


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A course of one chapter with an executed pair."""
    monkeypatch.setattr(digests, "ROOT", tmp_path)
    write_surroundings(tmp_path)
    source = write_chapter(tmp_path)
    pair = jupytext.read(source)
    for number, done in enumerate(digests.code_cells(pair)):
        done.outputs = [new_output("stream", name="stdout", text=f"one\ntwo {number}\n")]
    make_notebooks.make_reproducible(pair)
    digests.sign(pair, digests.made_from(source))
    nbformat.write(pair, source.with_suffix(".ipynb"))
    return tmp_path


def valid(root: Path) -> bool:
    return digests.valid_pair(root / "chapters" / "01_one.md") is not None


def test_a_signed_pair_is_valid_and_has_its_outputs(root):
    pair = digests.valid_pair(root / "chapters" / "01_one.md")
    texts = [done.outputs[0].text for done in digests.code_cells(pair)]
    assert texts == ["one\ntwo 0\n", "one\ntwo 1\n"]
    nbformat.validate(pair)


@pytest.mark.parametrize("name", ["chapters/01_one.md", *digests.READ])
def test_a_byte_elsewhere_makes_a_pair_invalid(root, name):
    for path in [root / name, *(root / name).rglob("*")]:
        if path.is_file():
            before = path.read_bytes()
            path.write_bytes(before + b"2")
            assert not valid(root), path
            path.write_bytes(before)
            assert valid(root), path


def test_a_file_more_in_the_library_or_one_renamed_makes_a_pair_invalid(root):
    new = root / "snnlib" / "new.py"
    new.write_text("")
    assert not valid(root)
    new.unlink()
    (root / "snnlib" / "one.py").rename(root / "snnlib" / "two.py")
    assert not valid(root)


def test_what_runs_leave_behind_changes_nothing(root):
    for name in ("__pycache__/one.pyc", "__pycache__/kernel.nbi", ".partial", ".cache/x.py"):
        path = root / "snnlib" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("left")
    assert valid(root)


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Change a pair's file as JSON, in place."""

    def apply(path: Path) -> None:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return apply


BROKEN = {
    "absent": Path.unlink,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: path.write_text(""),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "a list": lambda path: path.write_text("[]"),
    "deep": lambda path: path.write_text("[" * 200_000),
    "no metadata": edit(lambda nb: nb.pop("metadata")),
    "metadata a list": edit(lambda nb: nb.update(metadata=["digest"])),
    "digest missing": edit(lambda nb: nb["metadata"].pop("digest")),
    "digest malformed": edit(lambda nb: nb["metadata"].update(digest="abc")),
    "digest a number": edit(lambda nb: nb["metadata"].update(digest=7)),
    "output edited": edit(lambda nb: nb["cells"][1]["outputs"][0].update(text="three")),
    "output gone": edit(lambda nb: nb["cells"][1]["outputs"].clear()),
    "output moved": edit(lambda nb: nb["cells"].reverse()),
    "language edited": edit(lambda nb: nb["metadata"].pop("language_info")),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_or_edited_pair_is_not_shown(root, damage):
    BROKEN[damage](root / "chapters" / "01_one.ipynb")
    assert not valid(root)
    assert digests.fill(root / "cache", root) == ["01_one.md"]


def test_what_changes_while_a_chapter_runs_makes_its_pair_invalid(root, monkeypatch):
    def execute(client, env):
        (root / "snnlib" / "one.py").write_text("changed meanwhile")

    monkeypatch.setattr(make_notebooks.NotebookClient, "execute", execute)
    make_notebooks.make_notebook(root / "chapters" / "01_one.md")
    assert not valid(root)


def test_a_chapter_runs_with_the_library_of_its_folder_and_one_thread(root):
    (root / "snnlib" / "__init__.py").touch()
    code = "import os, snnlib\nprint(snnlib.__file__, os.environ['OMP_NUM_THREADS'])"
    source = write_chapter(root, code=code)
    make_notebooks.make_notebook(source)
    [output] = digests.code_cells(digests.valid_pair(source))[0].outputs
    assert output.text == f"{root / 'snnlib' / '__init__.py'} 1\n"


def test_nothing_is_signed_while_another_version_is_installed_than_pinned(root):
    digests.require_pins()  # without a pin
    (root / "requirements.txt").write_text(f"nbformat=={nbformat.__version__}\n")
    digests.require_pins()
    (root / "requirements.txt").write_text("nbformat==1.0.0\n")
    with pytest.raises(SystemExit, match=r"nbformat 1\.0\.0, but .* run `make \.venv/ready`"):
        digests.require_pins()


def test_a_page_may_lack_the_last_cells_of_its_pair_but_no_others(root):
    source = root / "chapters" / "01_one.md"
    pair, text = digests.valid_pair(source), source.read_text()
    source.write_text(text.replace(cell("1 + 1"), ""))
    [kept] = digests.code_cells(digests.with_outputs(source, pair))
    assert kept.outputs[0].text == "one\ntwo 0\n"
    source.write_text(text.replace(WHO, "2 + 2"))
    assert digests.with_outputs(source, pair) is None
    source.write_text(text + cell("2 + 2"))
    assert digests.with_outputs(source, pair) is None


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_chapter_leaves_its_old_pair_whole(root, signum):
    source, begun = root / "chapters" / "01_one.md", root / "begun"
    pair = source.with_suffix(".ipynb")
    old = pair.read_bytes()
    code = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(3600)"
    write_chapter(root, code=code)
    command = [sys.executable, ROOT / "tools" / "make_notebooks.py", source]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not begun.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signum)
    assert process.returncode != 0
    assert pair.read_bytes() == old
    assert sorted(source.parent.iterdir()) == [pair, source]
    assert not valid(root)  # the new text was not run to its end
    write_chapter(root)
    assert valid(root)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A course of three chapters whose notebooks were made by `make notebooks`."""
    root = tmp_path_factory.mktemp("clone")
    write_surroundings(root)
    for name in ("tools", "_ext", "_static"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "_config.yml", root)
    (root / "index.md").write_text("# Book\n")
    (root / "references.bib").write_text("")
    names = ["01_same", "02_changed", "03_forged"]
    files = "".join(f"- file: chapters/{write_chapter(root, name).stem}\n" for name in names)
    (root / "_toc.yml").write_text(f"format: jb-book\nroot: index\nchapters:\n{files}")
    run(root, "make_notebooks.py", run_by="notebooks")
    return root


def run(root: Path, tool: str, *options, run_by: str, inside: tuple = ()) -> str:
    """Run one of a clone's tools; its chapters print by whom they were run."""
    command = [*inside, sys.executable, root / "tools" / tool, *options]
    environment = os.environ | {"RUN_BY": run_by}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def shown(root: Path) -> list[str]:
    """By whom the three chapters were run whose outputs the pages show."""
    pages = sorted((root / "_build" / "html" / "chapters").glob("*.html"))
    texts = [path.read_text() for path in pages]
    assert [text.count("run by ") for text in texts] == [1, 1, 1]
    return [text.split("run by ")[1].split()[0] for text in texts]


@pytest.mark.slow
def test_the_book_shows_valid_pairs_and_executes_the_others(clone):
    changed = clone / "chapters" / "02_changed.md"
    changed.write_text(changed.read_text().replace("1 + 1", "2 + 2"))
    forged = clone / "chapters" / "03_forged.ipynb"
    forged.write_text(forged.read_text().replace("run by notebooks", "run by nobody"))
    log = run(clone, "build_book.py", run_by="book")
    assert shown(clone) == ["notebooks", "book", "book"]
    assert "02_changed.md will be executed" in log
    assert "01_same.md will be executed" not in log


@pytest.mark.slow
def test_a_changed_library_makes_the_book_execute_all_whatever_was_left_by_a_build(clone):
    """Of the same code, after the library had changed and changed back; in whatever cache."""
    config = clone / "_config.yml"
    config.write_text(config.read_text().replace("execute:\n", "execute:\n  cache: left\n", 1))
    assert "  cache: left\n" in config.read_text()
    library = clone / "snnlib" / "one.py"
    before = library.read_text()
    library.write_text("another")
    run(clone, "build_book.py", run_by="library")
    library.write_text(before)
    assert shown(clone) == ["library"] * 3
    run(clone, "build_book.py", run_by="again")
    assert shown(clone) == ["notebooks", "again", "again"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")
def test_a_clone_that_cannot_be_written_says_so_and_can_be_built_elsewhere(clone, tmp_path):
    inside = ("bwrap", "--dev-bind", "/", "/", "--ro-bind", clone, clone)
    command = [*inside, sys.executable, clone / "tools" / "build_book.py"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1
    assert f"{clone / '_build'} cannot be written (Read-only file system)" in refused.stderr
    assert "make book OUT=" in refused.stderr
    assert "Traceback" not in refused.stderr
    before = sorted(clone.rglob("*"))
    run(clone, "build_book.py", "--output", tmp_path / "new", run_by="reader", inside=inside)
    assert shown(tmp_path / "new")[0] == "notebooks"
    assert sorted(clone.rglob("*")) == before


def test_a_file_in_the_way_of_the_build_is_named(tmp_path):
    (tmp_path / "_build").write_text("")
    with pytest.raises(SystemExit, match=r"_build.* cannot be written \(.*OUT="):
        build_book.build(tmp_path)
