"""Names for file inputs: Streamlit names the field around each, not what a reader is on."""

import streamlit as st

SCRIPT = """
if (!window.fileInputsAreNamed) {
    window.fileInputsAreNamed = true;
    const name = () => {
        for (const field of document.querySelectorAll('[data-testid="stFileUploaderDropzone"]')) {
            const label = field.getAttribute('aria-label') || 'File';
            const input = field.querySelector('input[type="file"]');
            if (input) input.setAttribute('aria-label', label);
            const button = field.querySelector('button:not([aria-label])');
            if (button) button.setAttribute('aria-label', 'Upload: ' + label);
        }
    };
    new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
    name();
}
"""
"""Fixed, as the app's policy allows it by its digest."""


def name_file_inputs() -> None:
    """Have the browser name the file inputs of this page and of all that follow."""
    st.html(f"<script>{SCRIPT}</script>", unsafe_allow_javascript=True)
