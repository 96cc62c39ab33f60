"""What axe-core finds on a page."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = {"serious", "critical"}


def grave(page: Page) -> list[str]:
    """What keeps people from using the page, each with the element."""
    return [
        f"{each['id']}: {node['html'][:160]} {node['target']}"
        for each in Axe().run(page).response["violations"]
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]
