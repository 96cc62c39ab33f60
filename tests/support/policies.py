"""Release policies, and a text that attacks whoever shows it."""

import json

HOSTILE = '<img src=x onerror=alert(1)>|`*[a](http://b.c)* @someone &amp; ]]> "\x0c\x1b\n\\'


def rule(metric: str, **keys: object) -> str:
    """A rule as TOML."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in ({"metric": metric} | keys).items()]
    return "\n".join(["[[rule]]", *lines, ""])
