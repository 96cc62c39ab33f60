"""What many places say is worded in one: a share in percent, and that the disk is full."""

import ast
import errno
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

from gsc_core.errors import ImageError, SpecError
from gsc_core.evaluation.counts import percent
from gsc_core.files import disk_full, is_full, writing_to
from gsc_core.images.aside import folder_written_aside

SOURCES = [*sorted((ROOT / "gsc_core").rglob("*.py")), *sorted((ROOT / "pages").rglob("*.py"))]


def texts(path: Path) -> Iterator[str]:
    """Every string of a module that is no docstring; of an f-string its source."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield ast.unparse(node)


@pytest.mark.slow
def test_a_full_disk_is_said_in_one_place():
    saying = [
        path.name for path in SOURCES if any("disk is full" in t.lower() for t in texts(path))
    ]
    assert saying == ["files.py"]


@pytest.mark.slow
def test_a_share_is_written_in_percent_in_one_place():
    by_itself = re.compile(r"100 \* [^{}]*\} %")
    assert by_itself.search("f'{100 * share:.1f} % sure'")
    assert not [p.name for p in SOURCES if any(by_itself.search(text) for text in texts(p))]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_file_and_a_folder_say_the_same_of_a_full_disk(tmp_path, code):
    error = OSError(code, "said by the system")
    assert is_full(error)
    with pytest.raises(SpecError) as file, writing_to(tmp_path / "x"):
        raise error
    with pytest.raises(ImageError) as folder, folder_written_aside(tmp_path / "x"):
        raise error
    assert str(file.value) == str(folder.value) == disk_full(tmp_path / "x")


def test_another_error_is_no_full_disk(tmp_path):
    error = OSError(errno.EACCES, "Permission denied")
    assert not is_full(error)
    assert not is_full(ValueError())
    assert not is_full(None)
    with pytest.raises(SpecError, match=r"cannot be written \(Permission denied\)"):  # noqa: SIM117
        with writing_to(tmp_path / "x"):
            raise error


@pytest.mark.parametrize(
    ("share", "decimals", "said"),
    [
        (0.95, None, "95 %"),
        (0.9995, None, "99.95 %"),
        (0.57, None, "57 %"),  # 100 * 0.57 is 56.99999999999999
        (1e-6, None, "0.0001 %"),
        (0.95314, 1, "95.3 %"),
        (0.9, 1, "90.0 %"),
        (0.955, 0, "96 %"),
    ],
)
def test_percent(share, decimals, said):
    assert percent(share, decimals) == said
