"""Files are whole or absent, and an unwritable place is a clear error."""

import os
import stat

import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.files import write_text


def write_half(target):
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        _ = 1 / 0


def test_a_failing_block_leaves_the_old_file_and_no_leftovers(tmp_path):
    target = tmp_path / "result.json"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError):
        write_half(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_file_gets_the_permissions_of_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_a_file_in_the_way_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Kd3dError, match="cannot write"):
        write_text(tmp_path / "file" / "out.json", "x")
