"""Weights & Biases, by a stand-in, and TensorBoard, for real."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from util.errors import UserError
from util.sinks import Guarded, TensorBoard
from util.visualizer import Visualizer

VISUALS = {"real_A": torch.zeros(1, 3, 8, 8), "fake_B": torch.ones(1, 1, 8, 8)}


class FakeRun:
    """Remember what is logged."""

    def __init__(self):
        self.logged, self.finished, self.broken = [], False, False

    def log(self, values):
        if self.broken:
            raise ConnectionError("the network went away")
        self.logged.append(values)

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb(monkeypatch):
    module = SimpleNamespace(run=None, asked=None, Image=lambda image: ("image", image.shape))

    def init(**asked):
        module.asked = asked
        module.made = FakeRun()
        return module.made

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_gets_losses_images_and_options(opt, wandb):
    opt.use_wandb = True
    visualizer = Visualizer(opt)
    visualizer.plot_current_losses(2, 0.5, {"G": 1.5, "teacher_D": 0.25})
    visualizer.display_current_results(VISUALS, 2, False)
    visualizer.close()
    assert wandb.asked == {"project": "PocketGAN", "name": "blobs", "config": vars(opt)}
    assert wandb.made.logged == [
        {"epoch": 2.5, "G": 1.5, "teacher_D": 0.25},
        {"epoch": 2.5, "real_A": ("image", (8, 8, 3)), "fake_B": ("image", (8, 8, 3))},
    ]
    assert wandb.made.finished


def test_wandb_project_can_be_named_and_a_running_run_is_used(opt, wandb):
    opt.use_wandb, opt.wandb_project_name = True, "Zoo"
    Visualizer(opt)
    assert wandb.asked["project"] == "Zoo"
    wandb.run, wandb.asked = FakeRun(), None
    Visualizer(opt).plot_current_losses(1, 0, {"G": 1.0})
    assert wandb.asked is None and wandb.run.logged == [{"epoch": 1, "G": 1.0}]


def test_a_sink_that_fails_is_named_once_and_training_goes_on(opt, wandb, capsys):
    opt.use_wandb = True
    visualizer = Visualizer(opt)
    wandb.made.broken = True
    for step in range(3):
        visualizer.plot_current_losses(1, step, {"G": 1.0})
    visualizer.close()
    warnings = capsys.readouterr().err.strip().splitlines()
    assert len(warnings) == 1
    assert "wandb" in warnings[0] and "the network went away" in warnings[0] and "training goes on" in warnings[0]


def test_wandb_that_does_not_start_is_the_users_to_mend(opt, wandb):
    def refuse(**asked):
        raise RuntimeError("no API key")

    wandb.init, opt.use_wandb = refuse, True
    with pytest.raises(UserError, match=r"no API key.*wandb login.*WANDB_MODE=offline"):
        Visualizer(opt)


@pytest.mark.parametrize(("flag", "package"), [("use_wandb", "wandb"), ("use_tensorboard", "tensorboard")])
def test_a_missing_package_is_named_with_the_line_that_installs_it(opt, monkeypatch, flag, package):
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    setattr(opt, flag, True)
    with pytest.raises(UserError, match=f"--{flag} .*pip install {package}"):
        Visualizer(opt)


def test_tensorboard_files_hold_what_was_plotted(opt, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    opt.use_tensorboard = True
    visualizer = Visualizer(opt)
    for step in range(3):
        visualizer.plot_current_losses(1, step / 4, {"G": 1 / (step + 1)})
    visualizer.display_current_results(VISUALS, 1, False)
    visualizer.close()
    events = EventAccumulator(str(tmp_path / "checkpoints" / "blobs" / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("G")] == [
        (1000, 1.0),
        (1250, 0.5),
        (1500, pytest.approx(1 / 3)),
    ]
    assert sorted(events.Tags()["images"]) == ["fake_B", "real_A"]
    assert (events.Images("fake_B")[0].width, events.Images("fake_B")[0].height) == (8, 8)


def test_tensorboard_leaves_out_what_a_resume_does_again(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    killed = TensorBoard(tmp_path)
    for x in (1.0, 1.5, 2.0):
        killed.losses(x, {"G": x})
    killed.close()
    resumed = TensorBoard(tmp_path)
    resumed.cut(1.5)
    resumed.losses(2.0, {"G": 9.0})
    resumed.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("G")] == [(1000, 1.0), (1500, 1.5), (2000, 9.0)]


def test_a_forgiven_sink_is_tried_again_and_warns_once(capsys):
    class Disk:
        full, lines = True, []

        def append(self, line):
            if self.full:
                raise OSError("No space left on device")
            self.lines.append(line)

    disk = Disk()
    log = Guarded("the log", disk, forgive=True)
    log("append", "1")
    log("append", "2")
    disk.full = False
    log("append", "3")
    assert disk.lines == ["3"] and capsys.readouterr().err.count("the log failed (No space left on device)") == 1
