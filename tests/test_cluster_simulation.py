"""The simulated cluster of docs/scale.md against closed forms of its bottlenecks."""

import pytest

from benchmarks.simulate_cluster import Cluster, cores_needed, simulate

PIECES = 4096
PIECE = 128
IMAGES = PIECES * PIECE


@pytest.mark.parametrize(
    ("cluster", "rate"),
    [
        (Cluster(4, 8, 0.010, 0.002, image_bytes=0, store=64), 8 / 0.010),
        (Cluster(4, 80, 0.010, 0.010, image_bytes=0, store=640), 4 / 0.010),
        (Cluster(4, 80, 0.010, 0.001, image_bytes=10**6, line_bytes_s=1e8, store=640), 100),
        (Cluster(2, 2, 0.009, 0.003, image_bytes=0, shared=True), 2 / 0.012),
    ],
    ids=["cores", "actors", "line", "shared cores"],
)
def test_in_the_long_run_the_slowest_stage_sets_the_rate(cluster: Cluster, rate: float) -> None:
    simulated = simulate(cluster, IMAGES)
    assert IMAGES / simulated.seconds == pytest.approx(rate, rel=0.02)
    assert max(simulated.actors, simulated.cores, simulated.line) == pytest.approx(1, abs=0.02)


def test_one_piece_goes_through_every_stage() -> None:
    cluster = Cluster(1, 1, 0.010, 0.002, image_bytes=1000, line_bytes_s=1e6, start_s=1.0)
    loaded_and_decoded = PIECE * (0.001 + 0.010)
    assert simulate(cluster, PIECE).seconds == pytest.approx(loaded_and_decoded + PIECE * 0.002)
    late = Cluster(1, 1, 0.010, 0.002, image_bytes=0, start_s=60.0)
    assert simulate(late, PIECE).seconds == pytest.approx(60 + PIECE * 0.002)


def test_a_full_store_holds_the_decoders_back() -> None:
    """With room for one piece, decoding and scoring take turns."""
    cluster = Cluster(1, 8, 0.010, 0.005, image_bytes=0, store=1)
    assert simulate(cluster, 100 * PIECE).seconds == pytest.approx(100 * PIECE * 0.015)


def test_the_cores_that_are_needed_follow_the_ratio_of_the_stages() -> None:
    cluster = Cluster(8, 1, 0.005, 0.0005, image_bytes=0)
    assert cores_needed(cluster) == pytest.approx(0.9 * 8 * 0.005 / 0.0005, abs=8)
