"""What Streamlit's elements lack for who hears a page or needs contrast, added in the browser."""

import streamlit as st

SCRIPT = """
if (!window.semanticsAreAdded) {
    window.semanticsAreAdded = true;
    const add = (selector, name, value) => {
        for (const each of document.querySelectorAll(selector)) {
            const text = typeof value === 'string' ? value : value(each);
            if (text && each.getAttribute(name) !== text) each.setAttribute(name, text);
        }
    };
    const label = each => each.closest('[data-testid="stFileUploaderDropzone"]')
        ?.getAttribute('aria-label');
    const all = () => {
        add('[data-testid="stFileUploaderDropzoneInput"]', 'aria-label', label);
        // Its sections stand between the list and its items, so it is none.
        add('[data-testid="stSidebarNavItems"], [data-testid="stSidebarNavItems"] li', 'role',
            'none');
        add('[data-testid="stCode"] pre', 'tabindex', '0');  // which scrolls
    };
    new MutationObserver(all).observe(document.body, {childList: true, subtree: true});
    all();
}
"""
"""Fixed, as the app's policy allows it by its digest."""

STYLE = """
[data-testid="stSlider"] [data-testid="stSliderThumbValue"],
.stApp .stButtonGroup button[data-variant][class] { color: inherit; }
.stApp [data-testid="stCaptionContainer"] code { color: inherit; }
.stApp [data-testid="stHeading"] h2 { padding-top: 0.5rem; }
"""
"""Words in the colour of all words, where the buttons' colour is too dark for a dark page, and that
of code for small print; and a subheading, which is of the second level, no farther from what stands
above it than one of the third would be.
"""


def add_semantics() -> None:
    """Have the browser complete this page and all that follow."""
    body = f"<style>{STYLE}</style><script>{SCRIPT}</script>"
    st.html(body, unsafe_allow_javascript=True)
