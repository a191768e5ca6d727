"""`python -m scripts.viewer_stall [--lines FILE]`: how long a dead viewer can hold up a training.

Fake visdom servers hang, answer slowly, die, or come back empty, while a loop does what a training does: short steps,
losses plotted and images shown after each. The longest of those calls is compared with the same loop without a viewer.
Seconds in which another process had the processor do not count where the system tells them (Linux); `wall` has them too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from options.train_options import TrainOptions
from scripts.fake_visdom import HOST, FakeServer
from util.errors import for_people
from util.provenance import append_lines, provenance
from util.visualizer import Visualizer

LABELS = ("real_A", "fake_B", "rec_A", "idt_B", "real_B", "fake_A", "rec_B", "idt_A")
LOSSES = ("D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B")
STEP = 0.02  # seconds of a step


HANGING = 3600.0
# by name: the server's delay in seconds, and whether it dies and comes back on the way
SERVERS: dict[str, tuple[float, bool, bool]] = {
    "hanging": (HANGING, False, False),  # accepts and never answers
    "slow": (2.0, False, False),
    "dying": (0.0, True, False),
    "restarted": (0.0, True, True),
}


@contextlib.contextmanager
def visualizer(port: int) -> Iterator[Visualizer]:
    """Make a training's visualizer; port 0 has no viewer."""
    with tempfile.TemporaryDirectory() as folder:
        words = (
            f"--no_html --display_id {int(port > 0)} --display_port {port} --display_server http://{HOST} --gpu_ids -1"
        )
        _, opt = TrainOptions().gather_options([*words.split(), "--checkpoints_dir", folder, "--dataroot", folder])
        opt.isTrain = True
        yield Visualizer(opt)


def elsewhere() -> float:
    """Return the seconds in which this thread could have run, and another process had the processor."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def steps(shown: Visualizer, count: int, images: dict[str, torch.Tensor], start: int = 0) -> list[tuple[float, float]]:
    """Do steps, and return for each the seconds it spent on showing itself: without those spent elsewhere, and all."""
    taken = []
    for step in range(start, start + count):
        time.sleep(STEP)
        waited, began = elsewhere(), time.perf_counter()
        shown.plot_current_losses(1, step / 1000, dict.fromkeys(LOSSES, 1 / (step + 1)))
        shown.display_current_results(images, 1, False)
        wall = time.perf_counter() - began
        taken.append((max(0.0, wall - (elsewhere() - waited)), wall))
    return taken


def measure(name: str, count: int, side: int) -> dict[str, Any]:
    """Return the longest and median stall of a step with one kind of server, in milliseconds."""
    images = {label: torch.rand(1, 3, side, side) * 2 - 1 for label in LABELS}
    with visualizer(0) as shown:  # what showing costs by itself, and how busy the machine is
        alone = steps(shown, count, images)
        shown.close()
    delay, dies, returns = SERVERS[name]
    server = FakeServer(delay)
    warnings = io.StringIO()
    with contextlib.redirect_stderr(warnings), visualizer(server.port) as shown:
        assert shown.visdom is not None
        viewer = shown.visdom.sink
        viewer.retry = 0.2
        taken = steps(shown, count // 3, images)
        if dies:
            server.die()
        taken += steps(shown, count // 3, images, start=count // 3)
        if returns:
            server = FakeServer(delay, server.port)
        taken += steps(shown, count - 2 * (count // 3), images, start=2 * (count // 3))
        waiting = len(viewer.pending)
        began = time.perf_counter()
        shown.close()
        closing = time.perf_counter() - began
    points = 0 if delay == HANGING or (dies and not returns) else server.points().get("1", 0)
    server.die()
    held, wall = (sorted(1000 * step[which] for step in taken) for which in (0, 1))
    without, wall_without = (sorted(1000 * step[which] for step in alone) for which in (0, 1))
    return {
        "check": "viewer_stall", "server": name, "steps": count, "image": side,
        "longest_ms": round(held[-1], 1), "median_ms": round(held[count // 2], 1), "longest_wall_ms": round(wall[-1], 1),
        "longest_without_viewer_ms": round(without[-1], 1), "median_without_viewer_ms": round(without[count // 2], 1),
        "longest_wall_without_viewer_ms": round(wall_without[-1], 1),
        "closing_s": round(closing, 2), "waiting_at_most": waiting, "warnings": len(warnings.getvalue().splitlines()),
        "curve_points_at_the_end": points,
    }  # fmt: skip


@for_people
def main() -> None:
    """Measure every kind of server."""
    parser = argparse.ArgumentParser(prog="python -m scripts.viewer_stall", description=__doc__)
    parser.add_argument("--steps", type=int, default=150, help="steps with each server")
    parser.add_argument("--image", type=int, default=256, help="side of the images in pixels")
    parser.add_argument("--servers", default=",".join(SERVERS), help="comma-separated kinds")
    parser.add_argument("--lines", help="append the results to this file of JSON lines")
    opt = parser.parse_args()
    rows = []
    with visualizer(0) as shown:  # the first call of everything pays for imports
        steps(shown, 3, {"real_A": torch.zeros(1, 3, opt.image, opt.image)})
    import visdom  # noqa: F401  (the viewer's thread imports it at its first use: a training does so in step 1)

    for name in opt.servers.split(","):
        rows.append({**measure(name, opt.steps, opt.image), **provenance()})
        print({key: value for key, value in rows[-1].items() if key not in provenance()})
    if opt.lines:
        append_lines(opt.lines, rows)


if __name__ == "__main__":
    main()
