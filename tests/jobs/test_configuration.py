"""Settings: one table, two places, and a sentence for whatever cannot be meant."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import gsc
from places import ROOT
from pydantic import ValidationError

from gsc_core.classifier.guard import LOAD_LIMIT_S
from gsc_core.errors import GscError
from gsc_core.images.archive import Limits
from gsc_core.images.opening import MAX_BYTES, MAX_PIXELS
from gsc_core.jobs import queue, supervisor
from gsc_core.jobs.configuration import PLACES, Configuration, configuration, variable
from gsc_core.jobs.database import Kind
from gsc_core.jobs.limits import memory, worker_memory
from gsc_core.workspace.imagesets import MAX_SURROGATES

DOCUMENT = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
SOURCES = [ROOT / "app.py", *(ROOT / "gsc_core").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]
SETTINGS = Configuration.model_fields


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GSC_CONFIG", *map(variable, SETTINGS)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return tmp_path


def cells(document: str) -> Iterator[list[str]]:
    for line in document.splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def shown(value: object) -> str:
    if value in (None, ()):
        return "none"
    return f"{value:,}" if isinstance(value, int) else str(value).removesuffix(".0")


# --- the table ---------------------------------------------------------------------------------


def test_the_table_has_every_setting_as_it_is():
    expected = [
        [f"`{variable(name)}`", f"`{name}`", shown(field.default), field.description]
        for name, field in SETTINGS.items()
    ]
    assert [
        row for row in cells(DOCUMENT) if re.match("`GSC_", row[0]) and len(row) == 4
    ] == expected


@pytest.mark.slow
def test_every_variable_in_the_code_is_in_the_table_and_the_reverse():
    of_strings, attributes = set(), set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                of_strings |= set(re.findall(r"\bGSC_[A-Z][A-Z_]*[A-Z]\b", node.value))
            elif isinstance(node, ast.Attribute):
                attributes.add(node.attr)
    settings = set(map(variable, SETTINGS))
    assert of_strings <= {*settings, *PLACES}
    assert set(re.findall(r"`(GSC_\w+)`", DOCUMENT)) == {*settings, *PLACES}
    assert SETTINGS.keys() <= attributes, "a setting that nobody reads"


def test_variables_are_read_in_one_place():
    """Elsewhere than here a variable would be read that no table has."""
    reading = re.compile(r"environ(\.get\(|\[)\s*f?[\"']GSC_|getenv\(\s*[\"']GSC_")
    assert not [path.name for path in SOURCES if reading.search(path.read_text(encoding="utf-8"))]


def test_what_is_fixed_is_what_the_document_says():
    fixed = dict(row for row in cells(DOCUMENT.split("## Fixed")[1]) if row[0] != "limit")
    assert [int(value.replace(",", "")) for name, value in fixed.items() if name != "---"] == [
        MAX_PIXELS, MAX_BYTES, Limits().ratio, LOAD_LIMIT_S, queue.MAX_ATTEMPTS,
        supervisor.CANCEL_TIMEOUT_S, MAX_SURROGATES,
    ]  # fmt: skip


def test_the_limits_of_archives_are_the_usual_ones():
    usual, limits = Configuration(), Limits()
    assert (usual.archive_files, usual.archive_mb * 10**6) == (limits.members, limits.total_bytes)


# --- two places --------------------------------------------------------------------------------


def test_nothing_is_set_at_first(home):
    assert configuration() == Configuration()


def test_the_environment_wins_over_the_file(home, monkeypatch):
    (home / "gsc.toml").write_text(
        'upload_total_mb = 7\nimage_root = "photos"\nworkers="elsewhere"'
    )
    monkeypatch.setenv("GSC_UPLOAD_TOTAL_MB", " 9 ")
    monkeypatch.setenv("GSC_WORKERS", "")  # as if it were not there
    assert configuration() == Configuration(
        upload_total_mb=9, image_root=Path("photos"), workers="elsewhere"
    )
    (home / "gsc.toml").write_text("upload_session_mb = 123")
    assert configuration().upload_session_mb == 123, "the file is read anew when it changes"


def test_the_file_may_lie_elsewhere(home, monkeypatch):
    (home / "gsc.toml").write_text("share_days = 3")
    (home / "other.toml").write_text("share_days = 4")
    monkeypatch.setenv("GSC_CONFIG", str(home / "other.toml"))
    assert configuration().share_days == 4
    assert supervisor.clean_environment({})["GSC_CONFIG"] == str(home / "other.toml")


def test_a_setting_cannot_be_changed_and_a_token_is_not_printed(home, monkeypatch):
    monkeypatch.setenv("GSC_METRICS_TOKEN", "a-token-of-many-letters")
    settings = configuration()
    assert settings.metrics_token.get_secret_value() == "a-token-of-many-letters"
    assert "of-many-letters" not in repr(settings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.share_days = 3
    assert "GSC_METRICS_TOKEN" not in supervisor.clean_environment(
        {"GSC_METRICS_TOKEN": "a-token-of-many-letters"}
    )


# --- what cannot be meant ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("upload_total_bm = 3", "'upload_total_bm' in {file} is not a setting of GSC Audit: did "
         "you mean upload_total_mb?"),
        ("[server]\nport = 3", "'server' in {file} is not a setting of GSC Audit: remove it."),
        ("share_days = 'x'", "share_days in {file} is 'x': set it to a whole number of days, 1 to "
         "3650."),
        ("share_days = 0", "share_days in {file} is '0': set it to a whole number of days, 1 to "
         "3650."),
        ("model_minutes = true", "model_minutes in {file} is 'True': set it to a whole number of "
         "minutes, 1 or more."),
        ("upload_total_mb = -1", "upload_total_mb in {file} is '-1': set it to a whole number of "
         "MB."),
        ("upload_total_mb = 1e400", "upload_total_mb in {file} is 'inf': set it to a whole number "
         "of MB."),
        ("metrics = 'yes'", "metrics in {file} is 'yes': set it to closed, loopback or open."),
        ("metrics_token = 'short'", "metrics_token in {file} cannot be used: set it to 20 or more "
         "characters."),
    ],
)  # fmt: skip
def test_the_file_is_read_strictly(text, sentence, home):
    (home / "gsc.toml").write_text(text)
    with pytest.raises(GscError) as error:
        configuration()
    assert str(error.value) == sentence.format(file=home / "gsc.toml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = = 3", "is not TOML (Invalid value (at line 1, column 5)): correct that line."),
        (b"\xff", "is not TOML ("),
        (b"a = " + b"[" * 50_000, "is not TOML ("),
        (b"#" * 200_000, "is too long for a configuration: correct it."),
    ],
)
def test_a_file_that_cannot_be_read_is_a_sentence(content, said, home):
    (home / "gsc.toml").write_bytes(content)
    with pytest.raises(GscError) as error:
        configuration()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("GSC_UPLOAD_SESION_MB", "3", "GSC_UPLOAD_SESION_MB is not a setting of GSC Audit: did you "
         "mean GSC_UPLOAD_SESSION_MB?"),
        ("GSC_METRICS", "yes", "GSC_METRICS is 'yes': set it to closed, loopback or open."),
        ("GSC_WORKERS", "Elsewhere", "GSC_WORKERS is 'Elsewhere': set it to here or elsewhere."),
        ("GSC_MODEL_MINUTES", "0", "GSC_MODEL_MINUTES is '0': set it to a whole number of "
         "minutes, 1 or more."),
        ("GSC_METRICS_TOKEN", "secret", "GSC_METRICS_TOKEN cannot be used: set it to 20 or more "
         "characters."),
    ],
)  # fmt: skip
def test_the_environment_is_read_strictly(name, value, sentence, home, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(GscError) as error:
        configuration()
    assert str(error.value) == sentence


def test_a_file_that_was_named_must_be_there(home, monkeypatch):
    monkeypatch.setenv("GSC_CONFIG", str(home / "gone.toml"))
    with pytest.raises(GscError, match=r"GSC_CONFIG names .*gone.toml, which does not exist"):
        configuration()


def test_a_worker_says_it_at_its_start(home, monkeypatch):
    (home / "gsc.toml").write_text("upload = 3")
    ended = gsc("worker", "--idle", "0")
    assert ended.code == 2
    assert ended.err.startswith(f"'upload' in {home / 'gsc.toml'} is not a setting of GSC Audit")


# --- they hold ---------------------------------------------------------------------------------


def test_the_time_for_a_job_is_as_it_was_set(home, monkeypatch):
    monkeypatch.setenv("GSC_MODEL_MINUTES", "2")
    job = queue.submit(Kind.MODEL, "a model", "m", {})
    job.started = 1000.0
    assert supervisor._verdict(job, 1000.0 + 119) == (None, None)
    state, sentence = supervisor._verdict(job, 1000.0 + 121)
    assert state == "failed"
    assert sentence.startswith("It took longer than 2 minutes")


def test_the_memory_of_a_worker_is_as_it_was_set(home, monkeypatch):
    assert worker_memory() == memory()
    monkeypatch.setenv("GSC_WORKER_MEMORY_MB", "600")
    assert worker_memory() == 600_000_000
    monkeypatch.setenv("GSC_WORKER_MEMORY_MB", "99999999999")
    assert worker_memory() == memory()
