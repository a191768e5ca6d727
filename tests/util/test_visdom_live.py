"""What a real visdom server holds after some steps."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from util.visdom_viewer import connect
from util.visualizer import Visualizer

LABELS = ("real_A", "fake_B", "teacher_fake_B")


@pytest.fixture
def live(opt, visdom_port, request):
    """Return options for a live run in an environment of its own, and a function that reads its windows back."""
    opt.display_id, opt.display_port, opt.display_env = 1, visdom_port, request.node.name

    def read():
        client = connect("http://127.0.0.1", visdom_port, opt.display_env)
        return json.loads(client.get_window_data(win=None))

    return opt, read


def visuals():
    generator = torch.Generator().manual_seed(0)
    return {label: torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1 for label in LABELS}


def picture(window) -> np.ndarray:
    content = base64.b64decode(window["content"]["src"].partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)))


def test_curves_are_finite_whole_and_equal_to_the_log(live, tmp_path):
    opt, read = live
    visualizer = Visualizer(opt)
    for step in range(1, 9):
        losses = {"G_GAN": 1 / step, "crd": step / 3, "teacher_G_GAN": 10 / step}
        visualizer.plot_current_losses(1, step / 8, losses)
        visualizer.print_current_losses(1, step, losses, 0.1, 0.0)
    visualizer.close()
    log = (tmp_path / "checkpoints" / "blobs" / "loss_log.txt").read_text().splitlines()[1:]
    logged = [dict(zip(*[iter(line.partition(") ")[2].replace(":", "").split())] * 2, strict=True)) for line in log]
    held = read()
    assert set(held) == {"1", "teacher_loss"}
    assert held["1"]["title"] == "blobs loss over time"
    assert held["teacher_loss"]["title"] == "blobs teacher loss over time"
    lines = {line["name"]: line for window in held.values() for line in window["content"]["data"]}
    assert list(lines) == ["G_GAN", "crd", "teacher_G_GAN"]
    assert [line["name"] for line in held["1"]["content"]["data"]] == ["G_GAN", "crd"]
    for name, line in lines.items():
        assert len(line["y"]) == 8 and np.isfinite(line["y"]).all()
        assert line["x"] == [1 + step / 8 for step in range(1, 9)]
        assert [f"{value:.3f}" for value in line["y"]] == [entry[name] for entry in logged]
    layout = held["1"]["content"]["layout"]
    assert layout["xaxis"]["title"] in ("epoch", {"text": "epoch"}) and layout["showlegend"]


def test_grid_and_labels(live):
    opt, read = live
    visualizer = Visualizer(opt)
    visualizer.display_current_results(visuals(), 1, False)
    visualizer.close()
    held = read()
    assert {window: held[window]["title"] for window in held} == {"2": "blobs images", "3": "blobs labels"}
    grid = picture(held["2"])
    assert grid.shape[1] > 3 * 256 and grid.shape[0] > 256
    # the grid holds the very pixels, each enlarged eight times
    first = ((visuals()["real_A"][0].permute(1, 2, 0).numpy() + 1) / 2 * 255).astype(int)
    shown = grid[3 : 3 + 256 : 8, 3 : 3 + 256 : 8].astype(int)
    assert abs(shown - first).max() <= 1
    assert all(f"<td>{label}</td>" in held["3"]["content"] for label in LABELS)


def test_a_window_per_image(live):
    opt, read = live
    opt.display_ncols = 0
    visualizer = Visualizer(opt)
    visualizer.display_current_results(visuals(), 1, False)
    visualizer.close()
    held = read()
    assert {window: held[window]["title"] for window in held} == dict(zip("234", LABELS, strict=True))
    assert all(picture(window).shape == (256, 256, 3) for window in held.values())


def test_gaps_and_infinities_reach_the_page_as_gaps(live):
    opt, read = live
    visualizer = Visualizer(opt)
    visualizer.plot_current_losses(1, 0.1, {"a": 1.0})
    visualizer.plot_current_losses(1, 0.2, {"b": 2.0})
    visualizer.plot_current_losses(1, 0.3, {"a": float("inf"), "b": 3.0})
    visualizer.close()
    a, b = read()["1"]["content"]["data"]
    assert a["y"] == [1.0, None, None] and b["y"] == [None, 2.0, 3.0] and a["connectgaps"] is True


def test_a_resumed_run_shows_the_whole_curve(live):
    opt, read = live
    first = Visualizer(opt)
    for step in range(4):
        first.plot_current_losses(1, step / 4, {"G": float(step)})
    first.close()
    second = Visualizer(opt)
    second.load_state_dict(first.state_dict())
    second.plot_current_losses(2, 0.0, {"G": 4.0})
    second.close()
    assert read()["1"]["content"]["data"][0]["y"] == [0, 1, 2, 3, 4]
