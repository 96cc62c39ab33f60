"""How long an audit takes on a cluster, simulated event by event.

Pieces of a set wait for a core that reads and decodes them, then for an actor that scores them;
what is decoded waits in a store that holds so many pieces, and a full one holds the decoders back.
Requests share one line to the storage. The figures of a piece are assumed, as docs/scale.md says;
`benchmarks.cluster` measures them on this machine, to check the simulation by.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from collections import deque
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Cluster:
    """What there is, and what a piece of so many images takes.

    decode_s: of a core, for an image. score_s: of an actor, for an image. image_bytes: as stored.
    line_bytes_s: of all requests together. start_s: until actors have their detectors. store: how
    many decoded pieces wait at most. shared: whether actors and decoders share the cores.
    """

    actors: int
    cores: int
    decode_s: float
    score_s: float
    piece: int = 128
    image_bytes: int = 110_000
    line_bytes_s: float = 1.25e9
    start_s: float = 0.0
    store: int = 8
    shared: bool = False


@dataclass(frozen=True)
class Simulated:
    """Seconds in all, and the share of them that actors, cores and the line were busy."""

    seconds: float
    actors: float
    cores: float
    line: float


def simulate(cluster: Cluster, images: int) -> Simulated:
    """Run the pieces of so many images through the cluster."""
    pieces = -(-images // cluster.piece)
    load_s = cluster.piece * cluster.image_bytes / cluster.line_bytes_s
    decode_s, score_s = cluster.piece * cluster.decode_s, cluster.piece * cluster.score_s
    free = {"core": cluster.cores, "actor": cluster.actors}
    events: list[tuple[float, int, str]] = []
    decoded: deque[int] = deque()
    begun = held = order = 0
    line_free = now = 0.0
    busy = {"core": 0.0, "actor": 0.0}

    taken = {"core": ("core",), "actor": ("actor", "core") if cluster.shared else ("actor",)}

    def begin(what: str, at: float, seconds: float) -> None:
        nonlocal order
        order += 1
        for one in taken[what]:
            free[one] -= 1
            busy[one] += seconds
        heapq.heappush(events, (at, order, what))

    def begin_all() -> None:
        nonlocal begun, held, line_free
        while decoded and all(free[one] for one in taken["actor"]) and now >= cluster.start_s:
            decoded.popleft()
            begin("actor", now + score_s, score_s)
        while begun < pieces and free["core"] and held < cluster.store:
            begun, held = begun + 1, held + 1
            line_free = max(line_free, now) + load_s
            begin("core", line_free + decode_s, line_free + decode_s - now)

    heapq.heappush(events, (cluster.start_s, 0, "start"))
    begin_all()
    done = 0
    while done < pieces:
        now, _, what = heapq.heappop(events)
        if what == "core":
            decoded.append(1)
        elif what == "actor":
            done, held = done + 1, held - 1
        for one in taken.get(what, ()):
            free[one] += 1
        begin_all()
    return Simulated(
        now,
        busy["actor"] / (cluster.actors * now),
        busy["core"] / (cluster.cores * now),
        pieces * load_s / now,
    )


def cores_needed(cluster: Cluster) -> int:
    """The fewest cores with which the actors are busy nine tenths of the time."""
    low, high = 1, 1
    images = 100 * cluster.piece * cluster.actors  # so that the ends count little
    while simulate(replace(cluster, cores=high, store=4 * high), images).actors < 0.9:
        low, high = high, 2 * high
        if high > 65_536:
            return high
    while low < high:
        middle = (low + high) // 2
        if simulate(replace(cluster, cores=middle, store=4 * middle), images).actors < 0.9:
            low = middle + 1
        else:
            high = middle
    return high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decode-ms", type=float, default=5.0, help="of a core, for an image")
    parser.add_argument("--score-ms", type=float, default=0.5, help="of a GPU, for an image")
    parser.add_argument("--images", type=int, default=1_000_000)
    asked = parser.parse_args()
    for gpus in (1, 8, 64):
        cluster = Cluster(
            gpus, 1, asked.decode_ms / 1000, asked.score_ms / 1000, line_bytes_s=1.25e9 * gpus
        )
        cores = cores_needed(cluster)
        result = simulate(replace(cluster, cores=cores, store=4 * cores), asked.images)
        rate = asked.images / result.seconds
        sys.stdout.write(
            f"{gpus} GPUs: {cores} cores, {rate:,.0f} images/s, "
            f"{rate * cluster.image_bytes / 1e9:.2f} GB/s from storage, "
            f"{result.seconds / 60:.1f} minutes, actors busy {result.actors:.0%}\n"
        )


if __name__ == "__main__":
    main()
