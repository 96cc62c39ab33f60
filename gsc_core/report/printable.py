"""Text from users as characters that can be seen."""


def printable(text: str) -> str:
    """The text with control and direction characters replaced: none can turn it around.

    A line break stays; whoever sets the text decides what it does.
    """
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
