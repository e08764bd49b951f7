"""Whatever a submission sends, makes or holds, grading it takes little memory, disk and time."""

import json
import os
import resource
import subprocess
import sys
from functools import partial
from subprocess import PIPE

import psutil
import pytest
import zmq
from grading.blank import student_version
from grading.execute import LONGEST_MESSAGE, OVERHEAD, UNREAD, WAITING, JudgedExecute
from grading.files import remove
from grading.masters import read_master, to_nbgrader
from grading.outputs import Inert
from grading.processes import Child
from grading.sandbox import _busy, _size, _unnamed
from grading.submission import NotGradableError, prepare
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from school import MASTERS

MEBI = 1 << 20

# -- folders ------------------------------------------------------------------------------


def nest(folder, depth: int) -> None:
    """Folders in folders, deeper than any path may be long."""
    here = os.getcwd()
    try:
        os.chdir(folder)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)


def test_thousands_of_nested_folders_are_removed(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    nest(folder, 1500)
    remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_folder_is_removed_and_links_are_not_followed(tmp_path):
    folder, kept = tmp_path / "shared", tmp_path / "kept"
    (folder / "closed" / "inner").mkdir(parents=True)
    kept.mkdir()
    (kept / "file").write_text("kept")
    (folder / "closed" / "link").symlink_to(kept)
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    for path in ("closed/inner", "closed"):
        (folder / path).chmod(0)
    remove(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").read_text() == "kept"


def test_the_size_of_a_folder_is_that_of_all_folders_in_it(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(bytes(3 * MEBI))
    (tmp_path / "link").symlink_to("/usr")
    assert 3 <= _size(tmp_path, 256) <= 4


@pytest.mark.parametrize("make", [partial(nest, depth=1500), "many"])
def test_very_many_entries_are_too_large(tmp_path, make):
    if make == "many":
        for number in range(2000):
            (tmp_path / f"{number}").touch()
    else:
        make(tmp_path)
    assert _size(tmp_path, 256) > 256
    if make != "many":
        remove(tmp_path / "d")  # pytest could not


def test_a_removed_file_that_is_still_open_counts(tmp_path):
    family = [psutil.Process()]
    before = _unnamed(family, tmp_path)
    with open(tmp_path / "file", "wb") as file:
        file.write(bytes(3 * MEBI))
        file.flush()
        os.unlink(tmp_path / "file")
        assert 3 <= _unnamed(family, tmp_path) - before < 4


BUSY = """
from threading import Thread, main_thread
def work():
    while main_thread().is_alive(): sum(range(10**6))
Thread(target=work).start()
print(flush=True)
input()
"""


def test_only_threads_that_compute_are_busy():
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=PIPE, stdout=PIPE) as process:
        process.stdout.readline()
        family = [psutil.Process(process.pid)]
        while family[0].status() == psutil.STATUS_RUNNING:
            pass  # until its main thread waits for input
        assert _busy(family) == 1
        process.kill()
        process.wait()
        assert _busy(family) == 0


# -- messages -----------------------------------------------------------------------------


def message(kind: str, **content) -> dict:
    return {
        "msg_type": kind,
        "header": {"msg_type": kind},
        "parent_header": {"msg_id": "1"},
        "content": content,
    }


@pytest.fixture
def take():
    """Have messages of one cell processed; return its outputs."""

    def take(messages, cells: int = 1):
        notebook = new_notebook(cells=[new_code_cell("x") for _ in range(cells)])
        execute = JudgedExecute()
        execute.nb, execute.printed = notebook, {}
        execute.reset_execution_trackers()
        execute.clear_before_next_output = False
        for number, sent in enumerate(messages):
            place = number * cells // len(messages)
            execute.process_message(sent, notebook.cells[place], place)
        return execute, [output for cell in notebook.cells for output in cell.outputs]

    return take


def test_honest_messages_are_all_taken(take):
    sent = [message("stream", name="stdout", text=f"line {i}") for i in range(100)]
    assert len(take(sent)[1]) == 100


def test_many_small_messages_are_cut_off(take):
    sent = [message("stream", name="stdout", text="x")] * 10**5
    assert len(take(sent)[1]) < 4 * MEBI / OVERHEAD
    shown = message("display_data", data={}, metadata={}, transient={"display_id": "a"})
    changed = message("update_display_data", **shown["content"])
    _, outputs = take([shown, changed] * 10**4)
    assert len(outputs) < 4 * MEBI / OVERHEAD


def test_large_messages_of_many_cells_are_cut_off(take):
    sent = [message("stream", name="stdout", text="x" * 3 * MEBI)] * 100
    assert len(take(sent, cells=100)[1]) == 10


def test_what_changes_many_outputs_counts_in_each(take):
    shown = message("display_data", data={}, metadata={}, transient={"display_id": "a"})
    large = {"data": {"text/plain": "x" * MEBI}, "metadata": {}, "transient": {"display_id": "a"}}
    sent = [*[shown] * 30, message("update_display_data", **large)]
    outputs = take(sent)[1]
    assert len(outputs) == 30
    assert sum(len(json.dumps(output)) for output in outputs) < 4 * MEBI
    assert take([shown, sent[-1]])[1][0].data["text/plain"] == "x" * MEBI


def test_widgets_take_no_room(take):
    state = {"state": {"_model_module": "x", "value": "y" * MEBI}}
    sent = [message("comm_open", comm_id=f"{i}", data=state) for i in range(100)]
    sent += [message("comm_msg", comm_id=f"{i}", data=state) for i in range(100)]
    execute, outputs = take([*sent, message("odd", data=state)])
    assert (execute.widget_state, execute.comm_objects, outputs) == ({}, {}, [])


def test_the_channels_take_short_messages_and_few():
    """The client has a context of its own: options of the manager's would not reach it."""
    execute = JudgedExecute(kernel_name="python3")
    client = execute.create_kernel_manager().client()
    socket = client.context.socket(zmq.SUB)
    waiting = socket.getsockopt(zmq.RCVHWM)
    socket.close()
    client.context.term()
    assert waiting == WAITING
    assert client.session.unpack(b'{"a": 1}') == {"a": 1}
    assert client.session.unpack(b" " * (LONGEST_MESSAGE + 1)) == UNREAD


# -- processes ----------------------------------------------------------------------------


def ended(work, **limits) -> Child:
    child = Child(partial(heard, work), 60, **limits)
    while not child.ended():
        child._process.join(1)
    return child


def heard(work) -> None:
    sys.stderr = sys.__stderr__  # pytest has another one
    work()


def test_a_process_that_takes_too_much_memory_says_so():
    assert ended(partial(bytes, 300 * MEBI), memory=64 * MEBI).starved
    assert ended(os.abort).starved
    child = ended(partial(bytes, 32 * MEBI), memory=64 * MEBI)
    assert (child.status, child.starved) == (0, False)
    assert not ended(partial(sys.exit, 1), memory=64 * MEBI).starved


def test_a_process_may_raise_its_own_limit():
    """As a kernel does that it starts, which has limits of its own."""
    unlimited = resource.getrlimit(resource.RLIMIT_DATA)
    work = partial(resource.setrlimit, resource.RLIMIT_DATA, unlimited)
    assert ended(work, memory=64 * MEBI).status == 0


def test_of_endless_last_words_the_last_are_read():
    child = ended(partial(os.write, 2, b"x" * 10 * MEBI + b"end"))
    assert child.errors.endswith("end")
    assert len(child.errors) < MEBI
    assert not child.starved


# -- files --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def released():
    return student_version(to_nbgrader(read_master("1_demo", MASTERS)))


def with_cells(released, *cells) -> bytes:
    return json.dumps(released | {"cells": [*released.cells, *cells]}).encode()


def test_too_many_cells_are_refused(released):
    cell = {"cell_type": "code", "source": "1", "metadata": {}}
    with pytest.raises(NotGradableError, match=r"150,\d\d\d cells with .* are run"):
        prepare(with_cells(released, *[cell] * 150_000), released)


def test_too_much_code_is_refused(released):
    with pytest.raises(NotGradableError, match="characters are run"):
        prepare(with_cells(released, new_code_cell("x = 1\n" * 10**6)), released)


@pytest.mark.parametrize("text", ["word ", "[a](b) ", "\ud83d"])
def test_a_written_answer_of_megabytes_is_refused_or_cut(released, text):
    with pytest.raises(NotGradableError, match="characters are run"):
        prepare(with_cells(released, new_markdown_cell(text * 2 * 10**6)), released)
    prepared = prepare(with_cells(released, new_markdown_cell(text * 10**5)), released)
    assert len(prepared.notebook.cells[-1].source) < MEBI


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": []},
        {"metadata": {"nbgrader": ["grade_id"]}},
        {"metadata": {"nbgrader": {"grade_id": ["leak"]}}},
        {"metadata": {"nbgrader": {"grade_id": "\ud800"}}},
        {"metadata": {"nbgrader": {"grade_id": "leak", "points": 10**400}}},
        {"metadata": {"nbgrader": float("nan"), "x": float("inf")}},
        {"source": 3},
        {"source": {"a": 1}},
        {"source": [["a"]]},
        {"cell_type": ["code"]},
        {"cell_type": "heading", "level": []},
        {"outputs": 7},
        {"id": {"a": []}},
    ],
    ids=str,
)
def test_malformed_cells_are_taken_or_refused_and_no_more(released, change):
    cell = {"cell_type": "code", "source": "1", "metadata": {}, "outputs": []} | change
    try:
        kept = prepare(with_cells(released, cell), released).notebook
    except NotGradableError:
        return
    json.dumps(kept).encode()
    assert Inert().preprocess(kept, {})
