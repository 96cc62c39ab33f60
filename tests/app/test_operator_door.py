"""The addresses for operators: who may ask, and what is said."""

import re
import urllib.error
import urllib.request

import pytest
from browser import served
from starlette.datastructures import Headers

from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, session
from gsc_core.workspace.operation import prometheus
from pages.parts.entry.operator_door import may_read

TOKEN = "a-token-that-nobody-guesses"
SAMPLE = re.compile(r'gsc_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?[\d.e+]+')


def asked(address: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.slow
def test_health_and_figures_of_a_server(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("GSC_HOME", str(home))
    settings = {"GSC_WORKERS": "elsewhere", "GSC_METRICS_TOKEN": TOKEN}
    with served(home, **settings) as server:
        metrics, health = f"{server.address}/_gsc/metrics", f"{server.address}/_gsc/health"
        assert asked(health) == (
            200, '{"status":"good","index":"good","disk":"good","workers":"good"}',
        )  # fmt: skip
        assert asked(metrics)[0] == 404
        assert asked(metrics, Authorization="Bearer wrong")[0] == 404
        status, text = asked(metrics, Authorization=f"Bearer {TOKEN}")
        assert status == 200
        lines = [line for line in text.splitlines() if not line.startswith("# ")]
        assert all(map(SAMPLE.fullmatch, lines)), lines
        assert "gsc_healthy 1" in lines
        job = queue.submit(Kind.SET, "Reading Ann's photos", "s", {}, 3)
        with session() as db:
            job.created -= 600
            db.add(job)
        while asked(health)[0] == 200:  # what was seen is said for two seconds
            pass
        assert asked(health)[1] == ('{"status":"bad","index":"good","disk":"good","workers":"bad"}')
        text = asked(metrics, Authorization=f"Bearer {TOKEN}")[1]
        assert 'gsc_jobs{lane="prepare",state="queued"} 1' in text
        assert "gsc_healthy 0" in text
        assert "Ann" not in text and str(home) not in text


@pytest.mark.parametrize(
    ("setting", "client", "headers", "may"),
    [
        ({}, "127.0.0.1", {}, False),
        ({"GSC_METRICS": "loopback"}, "127.0.0.1", {}, True),
        ({"GSC_METRICS": "loopback"}, "::1", {}, True),
        ({"GSC_METRICS": "loopback"}, "10.0.0.9", {}, False),
        ({"GSC_METRICS": "loopback"}, "", {}, False),
        ({"GSC_METRICS": "loopback"}, "127.0.0.1", {"x-forwarded-for": "10.0.0.9"}, False),
        ({"GSC_METRICS": "loopback"}, "127.0.0.1", {"x-real-ip": "10.0.0.9"}, False),
        ({"GSC_METRICS": "open"}, "10.0.0.9", {}, True),
        ({"GSC_METRICS": "wrong"}, "127.0.0.1", {}, False),
        ({"GSC_METRICS_TOKEN": TOKEN}, "127.0.0.1", {}, False),
        ({"GSC_METRICS_TOKEN": TOKEN}, "10.0.0.9", {"authorization": f"Bearer {TOKEN}"}, True),
        ({"GSC_METRICS_TOKEN": TOKEN}, "10.0.0.9", {"authorization": TOKEN}, False),
        ({}, "10.0.0.9", {"authorization": "Bearer None"}, False),
    ],
)
def test_who_may_read_the_metrics(setting, client, headers, may, monkeypatch):
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    scope = {"type": "http", "client": (client, 5), "headers": Headers(headers).raw}
    assert may_read(scope) is may


def test_labels_are_escaped():
    gauge = prometheus.Gauge("x", "A figure.", (({"a": 'b"\\\n'}, 2.0),))
    assert prometheus.text([gauge]) == '# HELP x A figure.\n# TYPE x gauge\nx{a="b\\"\\\\\\n"} 2\n'
