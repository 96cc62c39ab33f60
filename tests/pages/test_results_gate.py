"""The release gate on the Results page: the verdict, the limits, and how they are set."""

from pathlib import Path

import pytest
from browser import at_rest, served
from opened_page import opened, words
from policies import HOSTILE, rule
from stored_run import write_run

from gsc_core.evaluation.thresholds import Typed
from gsc_core.release.policy import example, read_policy
from gsc_core.run import decisions
from gsc_core.run.stored import Run
from gsc_core.workspace import release_policy

pytestmark = pytest.mark.slow

OPEN = {"results_gate": "true"}
GOOD, BAD = rule("auroc", at_least=0.5), rule("auroc", at_least=0.5) + rule("fpr95", at_most=0)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    write_run(tmp_path / "runs" / "demo")
    return tmp_path


def limits(app):
    return next(table for table in app.dataframe if "Outcome" in table.value).value


def gave(app, content: bytes):
    """The page after somebody gave a policy."""
    app.file_uploader(key="results_gate_file").upload("policy.toml", content).run()
    assert not app.exception
    return app


def test_without_limits_the_page_says_so_quietly(home):
    app = opened("results")
    assert not app.exception
    assert any(part.label.startswith("No release limits are set") for part in app.expander)
    assert "release policy" not in words(app)
    assert not [button for button in app.button if button.key == "results_gate_remove"]


def test_the_verdict_stands_under_the_answer_with_its_reasons(home):
    release_policy.keep(GOOD)
    app = opened("results")
    assert [part.value for part in app.success] == [
        "**This model meets the one limit of the release policy\\.**"
    ]
    release_policy.keep(BAD)
    app = opened("results", **OPEN)
    assert not app.exception
    (said,) = app.error
    assert "breaks 1 of 2 limits" in words(app)
    assert said.value.count("\n- ") == 1
    table = limits(app)
    assert list(table["Outcome"]) == ["fail", "pass"]
    assert list(table["Limit"]) == ["at most 0 %", "at least 50 %"]
    release_policy.keep(rule("fpr95", at_most=1, set="not there"))
    app = opened("results")
    assert "cannot be decided yet" in app.warning[0].value


def test_limits_are_given_replaced_and_taken_away(home):
    app = gave(opened("results"), GOOD.encode())
    assert "meets the one limit" in words(app)
    app = gave(opened("results", **OPEN), BAD.encode())
    assert "breaks 1 of 2 limits" in words(app)
    assert release_policy.current() == read_policy(BAD)
    app.button(key="results_gate_remove").click().run()
    assert not app.exception
    assert "release policy" not in words(app)
    assert release_policy.current() is None


def test_a_wrong_policy_changes_nothing_and_is_told_in_a_sentence(home):
    app = gave(opened("results"), rule("fpr", at_most=1).encode())
    assert 'These limits were not saved. Rule 1 of the policy has the metric "fpr"' in words(app)
    release_policy.keep(GOOD)
    app = gave(opened("results", **OPEN), b"\xff\xfe")
    assert "not text in UTF-8" in words(app)
    assert "meets the one limit" in words(app)
    app.run()
    assert "not saved" not in words(app)


def test_a_damaged_policy_can_be_replaced_or_removed(home):
    (home / "policy.toml").write_text("rule = 3")
    app = opened("results")
    assert not app.exception
    assert "is damaged" in words(app)
    app.button(key="results_gate_remove").click().run()
    assert "is damaged" not in words(app)
    (home / "policy.toml").write_text("rule = 3")
    assert "meets the one limit" in words(gave(opened("results"), GOOD.encode()))


def test_the_verdict_follows_the_run_s_threshold(home):
    release_policy.keep(rule("familiar_passing", at_least=0.7))
    assert "meets the one limit" in words(opened("results"))
    run = Run.load(home / "runs" / "demo")
    decisions.store(run, decisions.decide(run, "energy", Typed(value=-1e6)))
    assert "breaks the one limit" in words(opened("results"))


def test_hostile_names_are_text_in_a_real_browser(home, browser):
    """In the sentence, in the table, and the example is there to download."""
    write_run(home / "runs" / "odd", sets={HOSTILE: 0.0}, detectors={"energy": 1.0})
    release_policy.keep(rule("fpr95", at_most=0.5, set=HOSTILE) + rule("id_accuracy", at_least=0))
    with served(home, GSC_WORKERS="elsewhere") as app:
        page = browser.new_page(viewport={"width": 390, "height": 900})
        told: list[str] = []
        page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
        page.goto(f"{app.address}/results?run=odd&results_gate=true")
        at_rest(page)
        box = page.locator('[data-testid="stAlert"]', has_text="breaks 1 of 2 limits")
        told_there = box.inner_text().replace("\N{WORD JOINER}", "")
        assert "<img src=x onerror=alert(1)>|`*[a](http://b.c)* @someone &amp; ]]>" in told_there
        assert not box.locator("img, a, code, em").count()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("button", name="Remove the limits").click()
        at_rest(page).get_by_text("No release limits are set").click()
        at_rest(page)
        with page.expect_download() as download:
            page.get_by_role("button", name="Example to start from").click()
        assert Path(download.value.path()).read_text(encoding="utf-8") == example()
        assert not told
        page.close()
