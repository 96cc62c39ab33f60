"""The words of the Models page."""

FIELDS = {
    "--option ": "the option ",
    "with --weights ": "the weights ",
    "--weights ": "the weights ",
    "--preprocess": "My own, under Preprocessing",
}
"""What the command line's flags are called on this page."""


def on_this_page(sentence: str) -> str:
    """A sentence about a model, naming this page's fields instead of the command line's flags."""
    for flag, field in FIELDS.items():
        sentence = sentence.replace(flag, field)
    return sentence
