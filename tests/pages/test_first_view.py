"""Pages of a large run at first sight: what its audit stored is enough, no whole column is read."""

import pytest
from opened_page import opened, tiles, words
from pictured_run import write_pictured_run

from gsc_core.run import score_table
from gsc_core.run.layout import SUMMARY_FILE
from gsc_core.run.stored import Run
from gsc_core.run.summarise import summarised

pytestmark = pytest.mark.slow

WHOLE = (score_table.column, score_table.digests, score_table.members, score_table.files)
PAGES = ("results", "thresholds", "images")


def columns_read() -> int:
    return sum(read.cache_info().misses for read in WHOLE)


@pytest.mark.parametrize("page", PAGES)
def test_it_shows_what_was_stored_as_it_would_count_it(page, tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    run = Run.load(write_pictured_run(tmp_path / "runs" / "demo"))
    before = columns_read()
    counted = opened(page, run="demo")
    (tmp_path / "again").mkdir()
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "again"))
    again = Run.load(write_pictured_run(tmp_path / "again" / "runs" / "demo"))
    summarised(run).model_copy(update={"audited": again.provenance.finished}).write(again)
    assert (again.path / SUMMARY_FILE).is_file()
    between = columns_read()
    shown = opened(page, run="demo")
    assert columns_read() == between > before
    assert not shown.exception and not shown.error
    assert words(shown) == words(counted)
    assert [tile["row"] for tile in tiles(shown)] == [tile["row"] for tile in tiles(counted)]
    charts = [[c.proto.spec for c in app.get("plotly_chart")] for app in (shown, counted)]
    assert charts[0] == charts[1]
