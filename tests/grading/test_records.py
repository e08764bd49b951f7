"""A record on disk is read whole, or counts as none: then the submission is graded again."""

import pytest
from grading.records import read_record


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{}", b"[]", b"7", b"\xff", b'{"status": "odd"}', b'{"status": "graded"}'],
)
def test_what_is_no_record_counts_as_none(tmp_path, content):
    path = tmp_path / "anna.json"
    assert read_record(path) is None
    path.write_bytes(content)
    assert read_record(path) is None
