"""What a server is like from its start on, seen from within the process that Streamlit starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from browser import PATIENCE, ROOT, free_port

SCRIPT = Path(__file__).parents[1] / "support" / "started_server.py"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = {"GSC_HOME": str(tmp_path_factory.mktemp("home")), "GSC_WORKERS": "elsewhere"}
    told = subprocess.run(
        [sys.executable, str(SCRIPT), str(free_port())],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    found = [line for line in told.stdout.splitlines() if line.startswith("{")]
    assert found, told.stderr
    return json.loads(found[0])


def test_no_piece_of_an_answer_waits_until_the_one_before_is_confirmed(server):
    assert server["at_once"] is True


def test_sessions_lose_no_answer_that_a_browser_waits_for(server):
    assert server["queue"] == "PatientQueue"


def test_what_the_imports_made_is_not_searched_for_garbage_after_each_run(server):
    assert server["looked_at"] < server["left_out"] / 2
