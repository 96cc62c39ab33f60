"""The file of a policy: examples hold, and a slip of the pen is one sentence."""

import re
import tomllib

import pytest
from places import ROOT
from policies import rule

from gsc_core.errors import GscError, SpecError
from gsc_core.release.metrics import METRICS
from gsc_core.release.policy import example, read_policy
from gsc_core.workspace import release_policy


def test_the_example_and_the_documentation_are_right(home):
    policy = read_policy(example())
    assert {r.metric for r in policy.rules} <= {metric.name for metric in METRICS}
    assert len({r.metric for r in policy.rules}) >= 6
    text = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        read_policy(block)
    for metric in METRICS:
        key = "at_most" if metric.low_is_good else "at_least"
        assert re.search(rf"^\| `{metric.name}` \|.*\| `{key}` \|", text, re.MULTILINE), metric.name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "The policy has no rules: begin each with [[rule]]."),
        ("rule = []", "no rules"),
        ("rule = 3", "no rules"),
        ("rule = [1]", "Rule 1 of the policy is not a table"),
        ("rule = [", "The policy is not TOML: "),
        ("limits = 3\n" + rule("fpr95", at_most=1), 'unknown key "limits"'),
        (rule("fpr", at_most=1), 'Rule 1 of the policy has the metric "fpr": choose one of fpr95,'),
        (rule("aupr_in", at_least=1), 'metric "aupr_in"'),
        ("[[rule]]\nat_most = 0.1", "Rule 1 of the policy has no metric: choose one of fpr95,"),
        (rule("fpr95", at_most=1) + rule("fpr95"), "Rule 2 of the policy needs one limit"),
        (rule("fpr95", at_most=1, at_least=0), "needs one limit: give either"),
        (rule("fpr95", at_least=0.1), "fpr95 is good when low: give at_most"),
        (rule("auroc", at_most=0.1), "auroc is good when high: give at_least"),
        (rule("fpr95", at_most=30), "at_most = 30, but fpr95 is a share from 0 to 1"),
        (rule("id_accuracy", at_least=-0.1), "a share from 0 to 1: write 0.3 for 30 %"),
        (rule("familiar_pictures", at_least=0.5), "give a whole number of images"),
        (rule("familiar_pictures", at_least=-5), "give a whole number of images"),
        (rule("inverted", at_most=1), "give at_most = 0"),
        (rule("fpr95", atmost=1), 'unknown key "atmost": the keys are metric, detector, set,'),
        (rule("fpr95", at_most="0.3"), "has a wrong at_most: give a number"),
        (rule("fpr95", at_most=True), "has a wrong at_most: give a number"),
        (rule("fpr95", at_most=1, prevalence=0.1), "fpr95 is not of a mix of images: leave it out"),
        (rule("accepted_errors", at_most=1, prevalence=10), "has a wrong prevalence: give a share"),
        (rule("accepted_errors", at_most=1, prevalence=0), "has a wrong prevalence: give a share"),
        (rule("accepted_errors", at_most=1, detector="msp"), "is of the run's threshold"),
        (rule("ece", at_most=0.1, set="each"), "ece has no figure for each"),
        (rule("worst_class_accuracy", at_most=0.1), "is good when high: give at_least"),
        ('[[rule]]\nmetric = "fpr95"\nat_most = nan', "has a wrong at_most: give a number"),
        ('[[rule]]\nmetric = "fpr95"\nat_most = inf', "has a wrong at_most: give a number"),
        (rule("fpr95", at_most=1, set=3), "has a wrong set: give a name in quotes"),
        (rule("fpr95", at_most=1, detector=""), "has a wrong detector: give a name in quotes"),
        (rule("id_accuracy", at_least=1, set="each"), "id_accuracy has no figure for each"),
        (rule("id_accuracy", at_least=1, detector="msp"), "id_accuracy is of the run"),
        (rule("strangers_passing", at_most=1, detector="msp"), "is of the run's threshold"),
        (rule("stranger_pictures", at_least=1, set="mean"), "asks for the mean"),
        (rule("fpr95", at_most=1) * 201, "more than 200 rules"),
        (rule("x" * 500, at_most=1), "x…"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"#" * 100_001, "at most 100,000 bytes"),
        ("rule = " + "[" * 20_000, "The policy"),
    ],
)  # fmt: skip
def test_a_slip_of_the_pen_is_one_sentence_with_the_rule_s_number(text, said):
    with pytest.raises(SpecError) as refused:
        read_policy(text)
    sentence = str(refused.value)
    assert said in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 400


def test_a_policy_saved_by_an_editor_of_windows_is_read():
    text = rule("fpr95", at_most=0.3).replace("\n", "\r\n")
    assert read_policy(b"\xef\xbb\xbf" + text.encode()) == read_policy(text)
    assert tomllib.loads(text)["rule"][0]["at_most"] == 0.3


def test_a_workspace_keeps_one_policy(home):
    assert release_policy.current() is None
    assert release_policy.version() == 0
    first = release_policy.keep(example())
    assert release_policy.current() == first
    before = release_policy.version()
    with pytest.raises(SpecError):
        release_policy.keep(b"rule = 3")
    assert (release_policy.current(), release_policy.version()) == (first, before)
    other = release_policy.keep(rule("fpr95", at_most=0.1).encode())
    assert release_policy.current() == other != first
    assert release_policy.version() != before
    (home.parent / "policy.toml").write_text(rule("fpr", at_most=1))
    with pytest.raises(GscError, match=r"workspace .* is damaged\. Rule 1"):
        release_policy.current()
    release_policy.forget()
    release_policy.forget()
    assert release_policy.current() is None
