"""A run gives one answer: every page, report, share and command says the same two counts."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import PATIENCE
from command_line import gsc
from opened_page import ROOT, opened, words
from policies import rule
from stored_run import write_run
from streamlit.testing.v1 import AppTest

from gsc_core.cli.output import print_result
from gsc_core.evaluation.thresholds import KeepId
from gsc_core.run import decisions
from gsc_core.run.stored import Run
from gsc_core.workspace.runs import DEMO_RUN

Counts = tuple[int, int]
"""Unfamiliar and familiar images accepted, of 1,000 each."""

WAYS = (
    r"(?P<ood>\d+) of 1,000 unfamiliar images would be accepted, while "
    r"(?P<id>\d+) of 1,000 familiar images are",
    r"Of 1,000 familiar images, (?P<id>\d+) are accepted.*?"
    r"Of 1,000 unfamiliar images, (?P<ood>\d+) would be",
    r"Unfamiliar images accepted: (?P<ood>\d+) of 1,000 "
    r"Familiar images accepted: (?P<id>\d+) of 1,000",
    r" Familiar images accepted(?P<id>\d+) of 1,000.*?"
    r"Unfamiliar images accepted(?P<ood>\d+) of 1,000",
)
"""How the two are said: in one sentence, or in one for each; in large numbers on Results and
Thresholds, and in the report."""


def said(text: str) -> set[Counts]:
    """Every pair of counts in a text."""
    flat = " ".join(re.sub(r"[\\\u2060*_]|<[^>]*>", "", html.unescape(text)).split())
    found = [match for way in WAYS for match in re.finditer(way, flat)]
    return {(int(match["ood"]), int(match["id"])) for match in found}


def page(name: str) -> str:
    app = opened(name, run=DEMO_RUN)
    assert not app.exception and not app.error, name
    frames = [frame.proto.srcdoc for frame in app.get("iframe")]
    large = large_numbers(app)
    assert len(said(large)) == (name in ("results", "thresholds")), name
    return "\n".join([words(app), large, *map(html.unescape, frames)])


def large_numbers(app: AppTest) -> str:
    """What stands above a number, and the number, of those that no sentence says."""
    titles = [c.value.partition(" (")[0] for c in app.caption if "images accepted (95" in c.value]
    numbers = [block.proto.body for block in app.get("html") if "of 1,000" in block.proto.body]
    pairs = [*zip(titles, numbers, strict=False), *((m.label, m.value) for m in app.metric)]
    return " ".join(f"{title}: {number}" for title, number in pairs)


def shared() -> str:
    """What a visitor sees at the address of a report that is shared now."""
    auditor = opened("report", run=DEMO_RUN)
    auditor.button(key="share_publish").click().run()
    addresses = [code.value for code in auditor.code]
    token = next(found[1] for each in addresses if (found := re.search(r"share=([\w-]+)", each)))
    visitor = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
    visitor.query_params["share"] = token
    (frame,) = visitor.run().get("iframe")
    return html.unescape(frame.proto.srcdoc)


def written(path: Path, *more: str) -> str:
    ran = gsc("report", DEMO_RUN, "--out", path, "--without-channels", *more)
    assert ran.code == 0, ran.err
    return path.read_text(encoding="utf-8")


def by_json(path: Path) -> str:
    """The report's own numbers, as a sentence, and its sentences."""
    report = json.loads(written(path))
    found = report["decision"]
    passed = found["familiar"]["passed"] / found["familiar"]["tested"]
    counts = (round(1000 * found["strangers_share"]), round(1000 * passed))
    assert said(report["verdict"]) == {counts}
    return " ".join([report["verdict"], *found["sentences"]])


def gated(folder: Path, *form: str) -> str:
    (folder / "policy.toml").write_text(rule("strangers_passing", at_most=1))
    ran = gsc("gate", DEMO_RUN, "--policy", folder / "policy.toml", *form)
    assert ran.code == 0, ran.err
    return ran.out


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def run(home: Path) -> Run:
    """By preference `gsc` decides, and it is not what does best."""
    detectors = {"energy": 3.0, "msp": 0.7, "gsc": 1.0}
    return Run.load(write_run(home / "runs" / DEMO_RUN, detectors=detectors))


def counted(run: Run, detector: str, value: float, *, half: bool) -> Counts:
    """By pandas alone."""
    table = pd.read_parquet(run.path / "scores.parquet")
    accepted = table[detector].astype(float) <= value
    shares = []
    for _, part in table[table.role == "ood"].groupby("set"):
        rows = part.sort_values("sha256").index
        shares.append(accepted[rows[len(rows) // 2 :] if half else rows].mean())
    return round(1000 * float(np.mean(shares))), round(1000 * accepted[table.role == "id"].mean())


def everywhere(
    folder: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> dict[str, set[Counts]]:
    def printed() -> str:
        capsys.readouterr()
        print_result(run)
        return capsys.readouterr().out

    places: dict[str, Callable[[], str]] = {
        **{
            name: lambda name=name: page(name)
            for name in ("home", "runs", "results", "images", "thresholds", "deploy", "report")
        },
        "share": shared,
        "gsc audit": printed,
        "gsc report, HTML": lambda: written(folder / "r.html"),
        "gsc report, JSON": lambda: by_json(folder / "r.json"),
        "gsc gate": lambda: gated(folder),
        "gsc gate, JSON": lambda: gated(folder, "--json"),
        "gsc gate, Markdown": lambda: gated(folder, "--markdown", "-"),
    }
    return {name: said(text()) for name, text in places.items()}


@pytest.mark.slow
def test_every_place_says_the_same_two_counts_before_and_after_a_decision(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = np.sort(run.calibration_scores("gsc"))[48]  # 95 % of 51, from 1
    before = counted(run, "gsc", value, half=False)
    found = everywhere(tmp_path, run, capsys)
    assert found == dict.fromkeys(found, {before})  # noqa: RUF024 - all alike

    decisions.store(run, decisions.decide(run, "energy", KeepId(share=0.8)), note="<b>Trial</b>")
    chosen = decisions.stored(run)
    after = counted(run, "energy", chosen.value, half=True)
    assert after != before
    found = everywhere(tmp_path, run, capsys)
    assert found == dict.fromkeys(found, {after})  # noqa: RUF024 - all alike
    assert "<b>Trial" not in written(tmp_path / "again.html")

    decisions.store(run, decisions.decide(run, "gsc", KeepId(share=0.8)))
    usual = counted(run, "gsc", decisions.stored(run).value, half=False)
    found = everywhere(tmp_path, run, capsys)
    assert found == dict.fromkeys(found, {usual})  # noqa: RUF024 - all alike
