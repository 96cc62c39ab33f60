"""Every page as axe-core judges it, and the way to a published report by the keyboard alone."""

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import Served, at_rest, served
from filled_workspace import fill
from playwright.sync_api import Browser, Page, expect
from small_run import RUN, make

from gsc_core.workspace import imagesets, models

pytestmark = pytest.mark.slow

GRAVE = {"serious", "critical"}
LOOKS = ({"width": 1280, "height": 900}, "light"), ({"width": 390, "height": 844}, "dark")
OF_RUN = (
    *("results", "images", "images?image=70", "images?images_view=map", "images?images_view=try"),
    *("thresholds", "ablation", "report", "deploy"),
)
OTHERS = ("", "models", "image-sets", "new-audit", "runs", "glossary", "trash", "log")
MOST_TABS = 90  # from the top of a page to its last control


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A workspace with a model, sets and a finished audit."""
    folder = make(tmp_path_factory.mktemp("accessible"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GSC_HOME", str(folder / "home"))
        fill(folder / "files")
        with served(folder / "home", GSC_WORKERS="elsewhere") as one:
            yield one


def addresses() -> list[str]:
    """Those of every page, and of one model and one set."""
    of_run = [f"{each}{'&' if '?' in each else '?'}run={RUN}" for each in OF_RUN]
    model, image_set = models.list_models()[0].id, imagesets.list_sets()[0].id
    return [*OTHERS, *of_run, f"models?model={model}", f"image-sets?set={image_set}"]


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
    page, axe, found = context.new_page(), Axe(), {}
    for address in addresses():
        page.goto(f"{app.address}/{address}")
        at_rest(page)
        levels = [int(tag[1]) for tag in headings(page)]
        grave = [
            f"{each['id']}: {node['html'][:160]} {node['target']}"
            for each in axe.run(page).response["violations"]
            if each["impact"] in GRAVE
            for node in each["nodes"]
        ]
        if grave or not in_order(levels):
            found[address] = (levels, grave)
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
