"""Entry of the web app: configuration, login and navigation; nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Literal

import streamlit as st
from starlette.middleware import Middleware
from streamlit.navigation.page import Page

from gsc_core.errors import GscError
from gsc_core.extras import require

try:
    require("plotly", "sqlmodel")
    from gsc_core.jobs.configuration import configuration
    from gsc_core.jobs.supervisor import keep_workers
    from gsc_core.team import acting
    from gsc_core.team.roles import Action
    from pages.parts.entry import access, shared_report
    from pages.parts.entry.awaited_answers import lose_no_answers
    from pages.parts.entry.operator_door import OperatorDoor
    from pages.parts.entry.prompt_answers import answer_at_once
    from pages.parts.entry.semantics import add_semantics
    from pages.parts.entry.starting import get_ready
    from pages.parts.entry.upload_guard import UploadGuard, let_in, uploads_kept
    from pages.parts.entry.web_guard import WebGuard
    from pages.parts.shared.text import plain

    configuration()
    acting.ask_for_person(access.visitor)
except GscError as error:
    raise SystemExit(str(error)) from None

# Inline: a named icon would be fetched from another host. A familiar dot, and one that is not.
ICON = (
    '<svg viewBox="0 0 16 16"><circle cx="5" cy="8" r="4" fill="#7E8B90"/>'
    '<circle cx="12" cy="8" r="3" fill="none" stroke="#D55E00" stroke-width="2"/></svg>'
)
# In a colour that shows on light and dark: an image knows nothing of the theme.
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 24"><circle cx="9" cy="12" r="6" '
    'fill="#7E8B90"/><circle cx="18" cy="12" r="4.5" fill="none" stroke="#D55E00" '
    'stroke-width="2.5"/><text x="32" y="18" font-family="sans-serif" font-size="17" '
    'font-weight="600" fill="#258A92">GSC Audit</text></svg>'
)
# A new page is one file and one line here.
PAGES = {
    "": {"home": "Home"},
    "Prepare": {"models": "Models", "image_sets": "Image sets"},
    "Audit": {"new_audit": "New audit", "runs": "Runs"},
    "Understand": {
        "results": "Results",
        "images": "Images",
        "thresholds": "Thresholds",
        "ablation": "Ablation",
        "report": "Report",
        "deploy": "Deploy",
        "glossary": "Glossary",
    },
    "Workspace": {"trash": "Trash", "log": "Log"},
}
# What a page is for; whoever may not do that is told so there, and does not see it in the list.
FOR = {"new_audit": Action.START, "trash": Action.ADD, "log": Action.OPERATE}


def main() -> None:
    """Set up the page, let the visitor in and hand over to the one that the address names."""
    st.set_page_config(page_title="GSC Audit", page_icon=ICON, layout="wide")
    pages = {
        section: [_page(module, title) for module, title in titles.items()]
        for section, titles in PAGES.items()
    }
    if "share" in st.query_params:  # this visitor has an address instead of an account
        st.navigation(pages, position="hidden")  # makes the address a page's; none of them is run
        shared_report.show(st.query_params["share"])
        return
    st.logo(LOGO, size="large")
    inside = access.entered()
    let_in(inside and acting.permits(Action.ADD), acting.current())
    position: Literal["sidebar", "hidden"] = "sidebar" if inside else "hidden"
    chosen = st.navigation(pages, position=position, expanded=True)
    if inside:
        chosen.run()
        add_semantics()


def _page(module: str, title: str) -> Page:
    """The page of a file in `pages/`; the first of all is where the app's bare address leads."""

    needs = FOR.get(module, Action.SEE)

    def render() -> None:
        try:
            acting.ensure(needs)
        except GscError as error:
            st.title(title, anchor=False)
            st.info(plain(str(error)))
            return
        import_module(f"pages.{module}").render()

    address = module.replace("_", "-")
    listed: Literal["visible", "hidden"] = "visible" if acting.permits(needs) else "hidden"
    return st.Page(
        render, title=title, url_path=address, default=module == "home", visibility=listed
    )


@asynccontextmanager
async def _before_anyone_comes(_: st.App) -> AsyncIterator[None]:
    """What the server does before it answers anyone; audits that it finds go on unvisited."""
    lose_no_answers()
    answer_at_once()
    get_ready(f"pages.{module}" for titles in PAGES.values() for module in titles)
    keep_workers()
    async with uploads_kept():
        yield


# Streamlit runs this file for every visit, and imports it once, for `app`, when the server starts.
# Its old multipage mode can run a page file first; see the end of pages/results.py.
if __name__ == "__main__":
    main()
else:
    guards = [Middleware(WebGuard), Middleware(OperatorDoor), Middleware(UploadGuard)]
    app = st.App(__file__, lifespan=_before_anyone_comes, middleware=guards)
