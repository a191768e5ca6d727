"""The loss line, the log, the page and the visdom windows, without a server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import util.visualizer
from util.errors import UserError
from util.visualizer import Visualizer

LINE = "(epoch: 1, iters: 100, time: 0.311, data: 0.000) G_GAN: 1.234 D_real: 0.500 "


def visuals(*labels, value: float = 0.0):
    return {label: torch.full((1, 3, 8, 8), value) for label in labels or ("real_A", "fake_B")}


def folder(opt) -> Path:
    return Path(opt.checkpoints_dir) / opt.name


class Viewer:
    """Stand in for the visdom viewer and remember what it is to show."""

    def __init__(self, *server):
        self.server, self.calls, self.closed = server, [], False

    def __getattr__(self, method):
        return lambda *arguments: self.calls.append((method, *arguments))

    def close(self):
        self.closed = True


@pytest.fixture
def viewed(opt, monkeypatch):
    """Return a visualizer with a stand-in for visdom, and the stand-in."""
    monkeypatch.setattr(util.visualizer, "VisdomViewer", Viewer)

    def make(**changes):
        vars(opt).update({"display_id": 1, **changes})
        visualizer = Visualizer(opt)
        return visualizer, visualizer.visdom.sink

    return make


def test_loss_line_is_upstreams_and_goes_to_the_log(opt, capsys):
    visualizer = Visualizer(opt)
    visualizer.print_current_losses(1, 100, {"G_GAN": 1.23449, "D_real": 0.5}, 0.3111, 0.0001)
    assert capsys.readouterr().out == LINE + "\n"
    header, line = (folder(opt) / "loss_log.txt").read_text().splitlines()
    assert re.fullmatch(r"=+ Training Loss \(.+\) =+", header)
    assert header.startswith("================ T") and header.endswith(") ================")
    assert line == LINE


def test_log_of_an_earlier_run_is_kept(opt):
    for _ in range(2):
        Visualizer(opt).print_current_losses(1, 100, {"G": 1.0}, 0, 0)
    assert len((folder(opt) / "loss_log.txt").read_text().splitlines()) == 4


def test_page_has_a_block_per_epoch_and_upstreams_file_names(opt):
    opt.no_html = False
    visualizer = Visualizer(opt)
    for epoch in (1, 2, 11):
        visualizer.display_current_results(visuals(), epoch, True)
    page = (folder(opt) / "web" / "index.html").read_text()
    assert "<h1>Experiment name = blobs</h1>" in page
    assert re.findall("<h2>(.*)</h2>", page) == ["epoch [1]", "epoch [2]", "epoch [11]"]
    names = sorted(path.name for path in (folder(opt) / "web" / "images").iterdir())
    assert names == [f"epoch{epoch}_{label}.png" for epoch in ("001", "002", "011") for label in ("fake_B", "real_A")]


def test_a_second_save_in_an_epoch_renews_the_images_not_the_page(opt):
    opt.no_html = False
    visualizer = Visualizer(opt)
    visualizer.display_current_results(visuals(value=-1.0), 1, True)
    page = (folder(opt) / "web" / "index.html").read_text()
    visualizer.display_current_results(visuals(value=1.0), 1, True)
    assert (folder(opt) / "web" / "index.html").read_text() == page
    with Image.open(folder(opt) / "web" / "images" / "epoch001_fake_B.png") as picture:
        assert np.asarray(picture).min() == 255
    visualizer.display_current_results(visuals("real_A", "rec_A"), 1, True)
    assert re.findall(r'src="images/(.*?)"', (folder(opt) / "web" / "index.html").read_text()) == [
        "epoch001_real_A.png",
        "epoch001_fake_B.png",
        "epoch001_rec_A.png",
    ]


def test_unasked_images_are_saved_once_after_reset(opt):
    opt.no_html = False
    visualizer = Visualizer(opt)
    for epoch, reset in ((1, False), (2, False), (3, True)):
        if reset:
            visualizer.reset()
        visualizer.display_current_results(visuals(), epoch, False)
    page = (folder(opt) / "web" / "index.html").read_text()
    assert re.findall("<h2>(.*)</h2>", page) == ["epoch [1]", "epoch [3]"]


def test_a_resumed_run_continues_the_page_a_fresh_one_begins_it(opt):
    opt.no_html = False
    Visualizer(opt).display_current_results(visuals(), 1, True)
    opt.continue_train = True
    resumed = Visualizer(opt)
    for epoch in (1, 2):
        resumed.display_current_results(visuals(), epoch, True)
    page = folder(opt) / "web" / "index.html"
    assert re.findall("<h2>(.*)</h2>", page.read_text()) == ["epoch [1]", "epoch [2]"]
    opt.continue_train = False
    Visualizer(opt)
    assert re.findall("<h2>(.*)</h2>", page.read_text()) == []


def test_a_page_that_can_not_be_written_is_named_once(opt, capsys):
    opt.no_html = False
    visualizer = Visualizer(opt)
    images = folder(opt) / "web" / "images"
    images.rmdir()
    images.write_text("in the way")
    for epoch in (1, 2):
        visualizer.display_current_results(visuals(), epoch, True)
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_no_html_writes_no_page(opt):
    Visualizer(opt).display_current_results(visuals(), 1, True)
    assert [path.name for path in folder(opt).iterdir()] == ["loss_log.txt"]


def test_page_without_dominate_names_both_ways_out(opt, monkeypatch):
    opt.no_html = False
    monkeypatch.delitem(sys.modules, "util.html", raising=False)
    monkeypatch.setitem(sys.modules, "dominate", None)
    with pytest.raises(UserError, match=r"pip install dominate.*--no_html"):
        Visualizer(opt)


def test_nothing_is_imported_that_was_not_asked_for(opt):
    script = """
import json, sys
from argparse import Namespace
from util.visualizer import Visualizer
import torch
visualizer = Visualizer(Namespace(**json.loads(sys.argv[1])))
visualizer.plot_current_losses(1, 0.5, {"G": 1.0})
visualizer.display_current_results({"real_A": torch.zeros(1, 3, 4, 4)}, 1, True)
visualizer.close()
print([name for name in ("visdom", "wandb", "tensorboard", "dominate", "requests") if name in sys.modules])
"""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", script, json.dumps(vars(opt))]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_curves_go_to_upstreams_window_the_teachers_to_their_own(viewed):
    visualizer, viewer = viewed(display_server="http://plots", display_port=8123, display_env="zoo")
    assert viewer.server == ("http://plots", 8123, "zoo")
    visualizer.plot_current_losses(3, 0.25, {"G": 1.0, "teacher_D": 2.0})
    (_, window, title, curve), (_, teacher_window, teacher_title, teacher_curve) = viewer.calls
    assert (window, title) == (1, "blobs loss over time")
    assert (teacher_window, teacher_title) == ("teacher_loss", "blobs teacher loss over time")
    assert curve.names == ["G"] and teacher_curve.names == ["teacher_D"]
    assert curve.arrays()[0].tolist() == [3.25]


def test_interleaved_reports_keep_each_window_its_own_times(viewed):
    visualizer, viewer = viewed(display_id=5)
    visualizer.plot_current_losses(1, 0.0, {"teacher_G": 1.0})
    visualizer.plot_current_losses(1, 0.5, {"teacher_G": 2.0})
    visualizer.plot_current_losses(1, 0.6, {"crd": 3.0})
    visualizer.plot_current_losses(1, 0.7, {"crd": 4.0, "style": 5.0})
    assert visualizer.curves["teacher"].arrays()[0].tolist() == [1.0, 1.5]
    assert visualizer.curves["losses"].arrays()[0].tolist() == [1.6, 1.7]
    assert [call[1] for call in viewer.calls] == ["teacher_loss_5"] * 2 + [5] * 2


def test_images_go_to_a_grid_and_a_table(viewed):
    visualizer, viewer = viewed(display_id=7, display_ncols=4)
    visualizer.display_current_results(visuals("a", "b", "c"), 1, False)
    (grid, window, title, images, columns, size), labels = viewer.calls
    assert (grid, window, title, columns, size) == ("grid", 8, "blobs images", 3, 256)
    assert [image.shape for image in images] == [(8, 8, 3)] * 3
    assert labels == ("labels", 9, "blobs labels", ["a", "b", "c"], 3)


@pytest.mark.parametrize("ncols", [0, -1])
def test_without_columns_each_image_has_a_window(viewed, ncols):
    visualizer, viewer = viewed(display_id=7, display_ncols=ncols)
    visualizer.display_current_results(visuals("a", "b", "c"), 1, False)
    assert [call[:3] for call in viewer.calls] == [("image", 8, "a"), ("image", 9, "b"), ("image", 10, "c")]


def test_curves_survive_a_checkpoint_and_are_shown_again(viewed, tmp_path):
    first, _ = viewed()
    for step in range(5):
        first.plot_current_losses(1, step / 5, {"G": float(step), "teacher_G": float(-step)})
    torch.save({"visualizer": first.state_dict()}, tmp_path / "latest_state.pth")
    second, viewer = viewed()
    second.load_state_dict(torch.load(tmp_path / "latest_state.pth", weights_only=True)["visualizer"])
    assert [call[1] for call in viewer.calls] == [1, "teacher_loss"]
    second.plot_current_losses(2, 0.0, {"G": 5.0})
    assert second.curves["losses"].arrays()[1][:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_close_reaches_the_viewer(viewed):
    visualizer, viewer = viewed()
    visualizer.close()
    assert viewer.closed


def test_testing_writes_no_training_page(opt):
    vars(opt).update(isTrain=False, no_html=False)
    Visualizer(opt)
    assert not (folder(opt) / "web").exists()


# --- metrics ----------------------------------------------------------------------------------------------------------


def result(metric: str, network: str, value: float, variant: str = "last") -> dict:
    return {"metric": metric, "network": network, "variant": variant, "value": value}


RESULTS = [result("kid", "G_A", 0.2), result("kid", "G_A", 0.1, "ema"), result("l1", "G_A", 0.5)]


def test_each_metric_has_a_window_and_a_curve_per_network(viewed):
    visualizer, viewer = viewed()
    visualizer.plot_metrics(5, RESULTS)
    (_, window, title, curve, label), (_, other, *_) = viewer.calls
    assert (window, title, label, other) == ("metric_kid", "blobs kid (lower is better)", "kid", "metric_l1")
    assert curve.names == ["G_A", "G_A ema"] and curve.points == [(5.0, {"G_A": 0.2, "G_A ema": 0.1})]
    visualizer, viewer = viewed(display_id=10)
    visualizer.plot_metrics(5, RESULTS)
    assert viewer.calls[0][1] == "metric_kid_10"


def test_metric_curves_go_on(viewed):
    visualizer, _ = viewed()
    visualizer.plot_metrics(5, RESULTS)
    other, viewer = viewed()
    other.load_state_dict(visualizer.state_dict())
    assert [call[1] for call in viewer.calls][-2:] == ["metric_kid", "metric_l1"]
    other.plot_metrics(10, RESULTS)
    assert [x for x, _ in other.curves["metric_kid"].points] == [5.0, 10.0]


def test_metrics_stand_at_the_top_of_the_page_once(opt):
    opt.no_html = False
    visualizer = Visualizer(opt)
    visualizer.display_current_results(visuals(), 1, True)
    for epoch in (1, 2):
        visualizer.plot_metrics(epoch, RESULTS)
    page = (folder(opt) / "web" / "index.html").read_text()
    assert page.count("metrics.svg") == 2 and page.count('<section class="pinned">') == 1  # a picture and its link
    picture = (folder(opt) / "web" / "images" / "metrics.svg").read_text()
    assert picture.count("<path") == 3
    opt.continue_train = True
    Visualizer(opt).plot_metrics(3, RESULTS)
    assert (folder(opt) / "web" / "index.html").read_text() == page
