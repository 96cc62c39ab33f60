"""What is installed is pinned, listed with its licence, and in the bill of materials."""

import json
import re

from places import ROOT

TEXT = (ROOT / "constraints.txt").read_text(encoding="utf-8")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


PINS = {
    normal(name): version
    for name, version in (line.split("==") for line in TEXT.splitlines() if "==" in line)
}


def test_each_pin_is_in_the_bill_of_materials():
    bill = json.loads((ROOT / "docs" / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {normal(each["name"]): each["version"] for each in bill["components"]}
    assert PINS.items() <= listed.items()


def test_each_pin_has_a_licence():
    rows = re.findall(
        r"^\| (\S+) \| (\S+) \| (.+) \|$",
        (ROOT / "docs" / "licences.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    listed = {normal(name): version for name, version, licence in rows if licence != "UNKNOWN"}
    assert PINS.items() <= listed.items()


def test_what_has_a_digest_is_what_is_pinned():
    text = (ROOT / "requirements-linux-x86_64.lock").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    locked = [re.fullmatch(r"(\S+)==(\S+) --hash=sha256:[0-9a-f]{64}", row) for row in rows]
    assert all(locked)
    found = {match[1]: match[2] for match in locked if match}
    found.pop("setuptools", None)  # torch wants it; pip freeze leaves it out
    assert found.items() <= PINS.items()
    wanted = re.findall(r"^[\w-]+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert {normal(name) for name in wanted} <= found.keys()
