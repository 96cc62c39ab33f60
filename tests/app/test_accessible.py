"""Every page as axe-core judges it, and the way to a published report by the keyboard alone."""

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from axe_core import grave
from browser import Served, at_rest, served
from filled_workspace import fill, set_state
from playwright.sync_api import Browser, Page, expect
from small_run import RUN, make

from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, State
from gsc_core.report import report_of, to_html
from gsc_core.run import decisions
from gsc_core.run.stored import Run
from gsc_core.workspace import imagesets, models, shares
from gsc_core.workspace.runs import run_folder

pytestmark = pytest.mark.slow

LOOKS = ({"width": 1280, "height": 900}, "light"), ({"width": 390, "height": 844}, "dark")
OF_RUN = (
    *("results", "images", "images?image=70", "images?images_view=map", "images?images_view=try"),
    *("thresholds", "ablation", "report", "deploy"),
)
OTHERS = ("", "models", "image-sets", "new-audit", "runs", "glossary", "trash", "log")
SHARE = "?share="
MOST_TABS = 90  # from the top of a page to its last control


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A workspace with a model, sets and a finished audit."""
    folder = make(tmp_path_factory.mktemp("accessible"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GSC_HOME", str(folder / "home"))
        fill(folder / "files")
        leave_traces()
        with served(folder / "home", GSC_WORKERS="elsewhere") as one:
            yield one


def leave_traces() -> None:
    """Audits that wait, failed and were cancelled, and something in the trash."""
    for name, state, error in (
        ("waiting", State.QUEUED, None),
        ("failed", State.FAILED, "The disk is full."),
        ("cancelled", State.CANCELLED, None),
    ):
        set_state(queue.submit(Kind.AUDIT, name, name, {"spec": {}}), state, error=error)
    imagesets.delete_set(imagesets.list_sets()[0].id)


def shared() -> str:
    """The address of a published report."""
    run = Run.load(run_folder(RUN))
    page = to_html(report_of(run, decisions.current(run), images=False))
    return f"{SHARE}{shares.publish(RUN, page, days=1).token}"


def addresses() -> list[str]:
    """Those of every page, of one model and one set, and of reports that are shared or not."""
    of_run = [f"{each}{'&' if '?' in each else '?'}run={RUN}" for each in OF_RUN]
    model, image_set = models.list_models()[0].id, imagesets.list_sets()[0].id
    of_one = [f"models?model={model}", f"image-sets?set={image_set}"]
    return [*OTHERS, *of_run, *of_one, "results?run=failed", "?share=none", shared()]


def headings(page: Page) -> list[str]:
    """The tags of all headings, from the top."""
    tags: list[str] = page.locator("h1, h2, h3, h4, h5, h6").evaluate_all(
        "all => all.map(one => one.tagName)"
    )
    return tags


def in_order(levels: list[int]) -> bool:
    """One title, before all others, and none a level further in than the next."""
    inwards = all(deeper <= level + 1 for level, deeper in pairwise(levels))
    return levels[:1] == [1] and levels.count(1) == 1 and inwards


@pytest.mark.parametrize(("viewport", "scheme"), LOOKS)
def test_axe_finds_nothing_grave_and_each_page_is_headed_in_order(
    browser: Browser, app: Served, viewport: dict[str, int], scheme: str
) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
    page, found = context.new_page(), {}
    for address in addresses():
        page.goto(f"{app.address}/{address}")
        at_rest(page)
        levels = [int(tag[1]) for tag in headings(page)]
        violations = grave(page)
        titled = in_order(levels) or address.startswith(SHARE)  # whose title is in the report
        if violations or not titled:
            found[address] = (levels, violations)
    context.close()
    assert not found


def by_keyboard(page: Page, name: str) -> None:
    """Press Tab until a control of this name has the focus."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        said = page.evaluate(
            """() => {
                const each = document.activeElement;
                const acts = ['A', 'BUTTON', 'SUMMARY'].includes(each.tagName);
                return acts ? each.ariaLabel || each.innerText : '';
            }"""
        )
        if re.search(name, said, re.MULTILINE):
            return
    raise AssertionError(f"nothing called {name} can be reached by the keyboard")


def test_from_home_to_a_published_report_by_the_keyboard(browser: Browser, app: Served) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(app.address)
    at_rest(page)
    by_keyboard(page, "^Results$")
    page.keyboard.press("Enter")
    page.wait_for_url("**/results*")
    at_rest(page)
    by_keyboard(page, "^Make a report$")
    page.keyboard.press("Enter")
    page.wait_for_url("**/report*")
    at_rest(page)
    by_keyboard(page, "Share this report")
    page.keyboard.press("Enter")
    at_rest(page)
    by_keyboard(page, "^Publish$")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Published. Copy the address now")).to_be_visible()
    context.close()


def test_the_map_opens_images_by_the_keyboard_and_by_a_line_around_them(
    browser: Browser, app: Served
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1200})
    page.goto(f"{app.address}/images?run={RUN}&images_view=map")
    at_rest(page)
    canvas = page.locator("canvas[data-points]")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".frame img")).to_have_attribute("src", re.compile("^data:image/jpeg"))
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile(r"images that were selected\W+1$"))).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("Choose a point, or draw around some")).to_be_visible()
    box = canvas.bounding_box()
    assert box is not None
    left, top, right, bottom = 2, 2, box["width"] - 2, box["height"] - 2
    page.mouse.move(box["x"] + left, box["y"] + top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(box["x"] + x, box["y"] + y, steps=4)
    page.mouse.up()
    every = canvas.get_attribute("data-points")
    said = re.compile(rf"images in the area that was selected on the map\W+{every}$")
    expect(page.get_by_text(said)).to_be_visible()
    page.close()
