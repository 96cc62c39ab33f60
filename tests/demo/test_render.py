"""The folders: whole, reproducible, and never shared between training and test."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gsc_core.demo import CLASS_NAMES, OOD_SETS, Sizes, render_demo
from gsc_core.demo.labelled import labelled_images
from gsc_core.demo.render import ID_PAINTERS, MANIFEST, Purpose, paint
from gsc_core.errors import ImageError, SpecError

SMALL = Sizes(calibration=20, id=len(CLASS_NAMES), ood=6)
TINY = Sizes(calibration=2, id=1, ood=1)


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.jpg"))}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    into = tmp_path_factory.mktemp("demo") / "images"
    heard: list[tuple[int, int]] = []
    folders = render_demo(into, 3, lambda done, total: heard.append((done, total)), SMALL)
    return into, folders, heard


@pytest.mark.slow
def test_every_set_has_its_folder_and_its_number_of_pictures(demo):
    _, folders, _ = demo
    assert set(folders) == {"calibration", "id", *OOD_SETS}
    assert len(files_of(folders["calibration"])) == SMALL.calibration
    assert len(files_of(folders["id"])) == SMALL.id
    assert all(len(files_of(folders[name])) == SMALL.ood for name in OOD_SETS)


def test_labelled_folders_are_the_classes(demo):
    _, folders, _ = demo
    for labelled in ("calibration", "id"):
        assert sorted(p.name for p in folders[labelled].iterdir()) == sorted(CLASS_NAMES)


def test_every_file_is_a_small_colour_jpeg(demo):
    into, _, _ = demo
    for path in into.rglob("*.jpg"):
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (96, 96)), path


def test_progress_counts_every_picture_once(demo):
    into, _, heard = demo
    total = len(files_of(into))
    assert heard == [(i, total) for i in range(1, total + 1)]


@pytest.mark.slow
def test_a_seed_gives_the_same_bytes_in_another_process(demo, tmp_path):
    into, _, _ = demo
    code = (
        "import sys; from pathlib import Path; from gsc_core.demo import Sizes, render_demo;"
        f"render_demo(Path(sys.argv[1]), 3, sizes={SMALL!r})"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "again"], check=True)
    assert files_of(tmp_path / "again") == files_of(into)


@pytest.mark.slow
def test_another_seed_gives_other_pictures(demo, tmp_path):
    into, _, _ = demo
    render_demo(tmp_path / "other", 4, sizes=SMALL)
    ours, theirs = files_of(into), files_of(tmp_path / "other")
    assert ours.keys() == theirs.keys()
    assert not set(ours.values()) & set(theirs.values())


def test_no_picture_occurs_twice(demo):
    pictures = list(files_of(demo[0]).values())
    assert len(set(pictures)) == len(pictures)


def test_a_picture_does_not_depend_on_those_before_it(demo):
    into, _, _ = demo
    kind = CLASS_NAMES.index("stop")
    alone = paint(ID_PAINTERS["stop"], 3, Purpose.ID_TEST, kind, 0)
    assert (into / "id/stop/stop-0000.jpg").read_bytes() == alone


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**64),
            st.sampled_from(Purpose),
            st.integers(0, 5000),
            st.integers(0, 5000),
        ),
        min_size=2,
        max_size=30,
        unique=True,
    )
)
@settings(max_examples=50)
def test_two_keys_never_share_a_random_stream(keys):
    def first_draws(rng: np.random.Generator) -> Image.Image:
        return Image.frombytes("RGB", (4, 4), rng.bytes(48))

    assert len({paint(first_draws, *key) for key in keys}) == len(keys)


@pytest.mark.slow
def test_arrays_do_not_depend_on_the_number_of_processes():
    (one, labels), (two, _) = (labelled_images(5, Purpose.HELD_OUT, 2, n) for n in (1, 2))
    assert one.shape == (2 * len(CLASS_NAMES), 3, 96, 96)
    assert labels.tolist() == [k for k in range(len(CLASS_NAMES)) for _ in range(2)]
    assert np.array_equal(one, two)


def test_what_is_rendered_is_kept_until_the_request_changes(tmp_path):
    into = tmp_path / "demo"
    render_demo(into, 1, sizes=TINY)
    first = files_of(into)
    (into / "id" / "witness").touch()
    assert render_demo(into, 1, sizes=TINY)["id"] == into / "id"
    assert (into / "id" / "witness").exists()
    render_demo(into, 2, sizes=TINY)
    assert not (into / "id" / "witness").exists()
    assert files_of(into) != first


def test_an_interrupted_rendering_leaves_nothing(tmp_path):
    def stop(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_demo(tmp_path / "demo", 1, stop, TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text"), [("holiday.jpg", "mine"), (MANIFEST, "mine"), (MANIFEST, '{"seed": 1}')]
)
def test_a_folder_with_other_files_is_left_alone(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ImageError, match="already holds other files"):
        render_demo(tmp_path, 1, sizes=TINY)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == text


def test_negative_numbers_are_refused(tmp_path):
    for seed, sizes in ((-1, TINY), (0, Sizes(ood=-1))):
        with pytest.raises(SpecError, match="zero or more"):
            render_demo(tmp_path / "demo", seed, sizes=sizes)


def test_importing_the_demo_is_light():
    code = "import sys, gsc_core.demo; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "False"
