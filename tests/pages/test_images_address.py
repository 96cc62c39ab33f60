"""Every state of the Images page that a link can name goes into the address and comes back."""

import pytest
from opened_page import opened, tiles, words
from pictured_run import write_pictured_run
from stored_run import write_features
from streamlit.testing.v1 import AppTest

pytestmark = pytest.mark.slow

SAME = ("crane", "owl", "crane")  # as ImageNet has it: a bird and a machine
TITLES = {
    "gallery": "The images of this audit",
    "map": "The images on a map",
    "try": "Try images of your own",
}
CHOICES = {
    "images_size": "large",
    "images_detector": "energy",
    "images_order": "familiar",
    "images_side": "let through",
    "images_set": "signs",
    "images_class": 2,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("address")
    write_features(write_pictured_run(folder / "runs" / "demo", n=40, m=30, names=SAME))
    return folder


@pytest.fixture(autouse=True)
def _in_its_home(home, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(home))


def controls(app: AppTest) -> dict:
    """The page's choices by key."""
    assert not app.exception
    return {each.key: each for kind in (app.segmented_control, app.selectbox) for each in kind}


def state(app: AppTest) -> dict:
    """What is chosen, and the images shown for it."""
    chosen = {key: each.value for key, each in controls(app).items()}
    named = {each.key: each.value for each in app.text_input}
    return chosen | named | {"tiles": [tile["row"] for tile in tiles(app)]}


def address(app: AppTest) -> dict[str, str]:
    return {name: app.query_params[name] for name in app.query_params}


def test_what_is_chosen_is_named_and_comes_back_from_there():
    app = opened("images")
    before = state(app)
    for key, value in CHOICES.items():
        controls(app)[key].set_value(value).run()
        assert state(app)[key] == value
    app.text_input(key="images_name").set_value("signs/").run()
    assert {key: str(value) for key, value in CHOICES.items()}.items() <= address(app).items()
    assert state(app)["tiles"] and state(app)["tiles"] != before["tiles"]
    assert state(opened("images", **address(app))) == state(app)
    for key in CHOICES:
        controls(app)[key].set_value(before[key]).run()
    assert not CHOICES.keys() & address(app).keys()  # what is usual goes without saying


@pytest.mark.parametrize("view", TITLES)
def test_an_address_leads_to_each_view_and_each_view_has_one(view):
    app = opened("images", images_view=view)
    assert TITLES[view] in words(app)
    controls(app)["images_view"].set_value("try" if view == "map" else "map").run()
    assert TITLES[view] not in words(app)
    controls(app)["images_view"].set_value(view).run()
    assert TITLES[view] in words(app)
    assert address(app).get("images_view", "gallery") == view


@pytest.mark.parametrize("show", ["missed", "alarms", "marked"])
def test_an_address_leads_to_what_is_shown(show):
    app = opened("images", images_show=show)
    assert controls(app)["images_show"].value == show
    controls(app)["images_show"].set_value("all").run()
    assert address(app) == {}


@pytest.mark.parametrize("view", [{}, {"image": "60"}])
def test_two_classes_of_one_name_are_two_addresses(view):
    shown = [state(opened("images", images_class=index, **view))["images_class"] for index in "02"]
    assert shown == [0, 2]


def test_what_is_too_long_to_search_for_is_cut():
    assert state(opened("images", images_name="x" * 999))["images_name"] == "x" * 200


@pytest.mark.parametrize(
    ("address", "key", "value"),
    [
        ({"images_view": "Try images"}, "images_view", "try"),
        ({"images_order": "Most familiar first"}, "images_order", "familiar"),
        ({"images_set": "Familiar images"}, "images_set", "id"),
        ({"images_class": "owl"}, "images_class", 1),
        ({"try": "0" * 12}, "images_view", "try"),
        ({"try": "0" * 12, "images_view": "gallery"}, "images_view", "gallery"),
        ({"images_view": "<script>"}, "images_view", "gallery"),
        ({"images_class": "99999999999"}, "images_class", -1),
    ],
)
def test_addresses_of_before_lead_where_they_led_and_nonsense_to_the_usual(address, key, value):
    assert controls(opened("images", **address))[key].value == value
