"""In a real browser, from an audit with a contaminated set: it is noticed, images are marked in the
grid and on the card, both figures are said everywhere, the rest is a set.

The audit is ordered on the page and done by the real engine. Images are marked by keys and ticks in
the grid and by one press; nothing is typed but the name of the new set.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Served, at_rest, served
from filled_workspace import fill, work_off
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from uploads import work

from gsc_core.evaluation.counts import in_1000
from gsc_core.run import decisions
from gsc_core.run.marks import by_row
from gsc_core.run.revised import without_marked
from gsc_core.run.stored import Run
from pages.parts.image_sets.words import ROLE_NAMES

UNFAMILIAR = ROLE_NAMES["ood"]

pytestmark = pytest.mark.slow


PLANTED = 8


def plant(stage: Path) -> None:
    """Familiar images among the unfamiliar ones, encoded again."""
    for i, file in enumerate(sorted((stage / "id").rglob("*.png"))[::10]):
        again = io.BytesIO()
        Image.open(file).save(again, "JPEG", quality=95, subsampling=0)
        (stage / "noise" / f"web-{i}.jpg").write_bytes(again.getvalue())


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Served]:
    """A workspace with a model, familiar images, and noise in which familiar images are planted."""
    folder = tmp_path_factory.mktemp("marks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GSC_HOME", str(folder / "home"))
        fill(folder / "files", {"photos": "id", "noise": "ood"}, plant)
        with served(folder / "home", GSC_WORKERS="elsewhere") as one:
            yield one


@pytest.fixture
def page(browser: Browser, server: Served) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    problems: list[str] = []
    one = context.new_page()
    one.on("pageerror", lambda error: problems.append(str(error)))
    yield one
    context.close()
    assert not problems


def opened(page: Page, server: Served, path: str) -> Page:
    page.goto(f"{server.address}/{path}")
    return at_rest(page)


def press(page: Page, key: str) -> None:
    page.locator(f".st-key-{key} button").first.click()
    at_rest(page)


def downloaded(page: Page, key: str) -> bytes:
    with page.expect_download() as download:
        page.locator(f".st-key-{key} button").first.click()
    return Path(download.value.path()).read_bytes()


def audited(page: Page, server: Served) -> Run:
    """The audit, ordered as the page suggests it and done by the engine."""
    opened(page, server, "new-audit")
    press(page, "audit_start")
    page.wait_for_url(re.compile(r"/runs[?]run="))  # the order is stored before it is named
    work_off()  # what a worker does; another process would load torch for it
    return Run.load(server.home / "runs" / page.url.partition("run=")[2])


def noticed(page: Page, server: Served, run: Run) -> None:
    """The card says which images of the set are copies, and leads to each beside its original."""
    opened(page, server, f"results?run={run.id}")
    main = page.get_by_test_id("stMain")
    expect(main).to_contain_text("Look at your image sets first")
    copies = run.document.set_checks.copies
    assert sum(one.images for one in copies) == PLANTED
    for one in copies:
        whose = {"id": "familiar test images", "calibration": "calibration images"}[one.of]
        some = f"{one.images} of {one.tested} images of noise"
        expect(main).to_contain_text(re.compile(f"{some} (is|are) nearly the same as {whose}"))
    page.get_by_role("link", name=f"Look at all {2 * copies[0].images}", exact=False).first.click()
    expect(page.locator("ul.grid li")).to_have_count(2 * copies[0].images)


def mark_rest_on_the_card(page: Page, server: Served, run: Run) -> None:
    """The copies that were not marked in the grid, by one press for those of each set."""
    for _ in run.document.set_checks.copies:
        opened(page, server, f"results?run={run.id}")
        buttons = page.get_by_role(
            "button", name=re.compile("^flag Mark [0-9]+ as|^Mark [0-9]+ as")
        )
        if buttons.count():
            buttons.first.click()
            at_rest(page)


def mark_five(page: Page, server: Served, run: Run, missed: int) -> None:
    """From Results to the misses, and five of them by keys and ticks."""
    opened(page, server, f"results?run={run.id}")
    page.get_by_role("link", name=re.compile(f"Missed: {missed} images")).click()
    tiles = page.locator("ul.grid li")
    expect(tiles).to_have_count(missed)
    at_rest(page)
    tiles.nth(0).locator("a").focus()
    for key in ("Space", "ArrowRight", "Space", "ArrowRight", "Shift+Space"):
        page.keyboard.press(key)
    expect(page.get_by_text("3 selected", exact=True)).to_be_visible()
    at_rest(page)
    expect(tiles.nth(2).locator("a")).to_be_focused()
    tiles.nth(3).locator("input").check()
    tiles.nth(4).locator("a").click(modifiers=["Shift"])
    expect(page.get_by_text("5 selected", exact=True)).to_be_visible()
    at_rest(page)
    press(page, "images_mark_not_unfamiliar")
    expect(page.get_by_text("5 images marked")).to_be_visible()
    expect(page.locator("ul.grid li.marked")).to_have_count(5)


def add_rest_as_set(page: Page, server: Served, run: Run, rest: Path, left: int) -> None:
    """The ZIP of what is left, taken and added as a set of its own."""
    opened(page, server, f"images?run={run.id}&images_show=marked")
    rest.write_bytes(downloaded(page, f"rest_{b'noise'.hex()}"))
    with zipfile.ZipFile(io.BytesIO(rest.read_bytes())) as packed:
        assert len(packed.namelist()) == left
    opened(page, server, "image-sets")
    page.locator(".st-key-set_role").get_by_text(UNFAMILIAR, exact=True).click()
    with page.expect_response(lambda r: "upload_file" in r.url and r.ok):
        page.locator(".st-key-set_files input[type=file]").set_input_files(rest)
    expect(page.locator(".st-key-set_files")).to_contain_text("rest.zip")
    at_rest(page)
    page.locator(".st-key-set_name input").fill("noise, cleaned")
    page.locator(".st-key-set_name input").press("Tab")
    at_rest(page)
    press(page, "set_add")
    page.wait_for_url(re.compile(r"[?&]set="))  # the order is stored before the address names it
    assert len(work()) == 1  # what a worker does; another process would load torch for it
    opened(page, server, "image-sets")
    expect(page.get_by_test_id("stMain")).to_contain_text(f"{left} images")


def test_five_images_are_marked_and_every_figure_follows(page, server, tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(server.home))
    run = audited(page, server)
    noticed(page, server, run)
    before = decisions.effect_of(run, decisions.current(run)).ood["noise"]
    assert before.accepted > 5
    mark_five(page, server, run, before.accepted)

    view = without_marked(run)
    assert view is not None and len(by_row(run)) == 5
    after = decisions.effect_of(view, decisions.current(view)).ood["noise"]
    assert (after.accepted, after.total) == (before.accepted - 5, before.total - 5)
    for address in ("results", "thresholds"):
        opened(page, server, f"{address}?run={run.id}")
        main = page.get_by_test_id("stMain")
        expect(main).to_contain_text("5 images are left out (5 not unfamiliar).")
        expect(main).to_contain_text(f"{in_1000(before.share)} of 1,000")
        page.get_by_text("Without marked images", exact=True).click()
        expect(main).to_contain_text(f"{in_1000(after.share)} of 1,000")
    opened(page, server, f"report?run={run.id}")
    html = downloaded(page, "report_html").decode()
    assert "<h2>Without 5 marked images</h2>" in html
    document = json.loads(downloaded(page, "report_json"))
    assert document["decision"]["strangers"][0]["passed"] == before.accepted
    revised = document["without_marked"]
    assert revised["strangers"][0]["passed"] == after.accepted
    assert [one["doubt"] for one in revised["images"]] == ["not unfamiliar"] * 5

    add_rest_as_set(page, server, run, tmp_path / "rest.zip", before.total - 5)

    mark_rest_on_the_card(page, server, run)
    expect(page.get_by_test_id("stMain")).to_contain_text(f"{PLANTED} images are left out")
    assert len(by_row(run)) == PLANTED
    opened(page, server, f"images?run={run.id}&images_show=marked")
    page.locator("ul.grid li a").first.press("Enter")
    expect(page.get_by_text("Marked on", exact=False).first).to_be_visible()
    assert "image=" in page.url
