"""Every registered model trains, stops, goes on as if it had never stopped, and tests; every objective counts.

A new method is tested by being registered.
"""

from __future__ import annotations

import math
import re
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import test as test_script
import train as train_script
from data import create_dataset
from models import create_model
from models.distillation.distiller import DistillModel
from models.distillation.online import OnlineDistillModel
from options.train_options import TrainOptions
from util.backbones import backbone_layers
from util.plugin_manager import plugin_manager
from util.provenance import read_lines

Flags = Callable[..., list[str]]
Parse = Callable[[Sequence[str]], Namespace]

# What makes a run of two epochs small, and blocks of the teacher short enough to have students in each.
SHORT = {
    "n_epochs": 2,
    "n_epochs_decay": 0,
    "max_dataset_size": 3,
    "batch_size": 1,
    "load_size": 36,
    "print_freq": 1,
    "save_latest_freq": 2,
}
INTERLEAVED = {"schedule": "interleaved", "teacher_interval": 1}


def cases() -> list[tuple[str, str]]:
    """List (model, data) for all that can train: distilling models over each base, others on the data they read."""
    found = []
    for name in plugin_manager().names("models"):
        if name == "test":  # applies a generator and trains nothing
            continue
        _, options = TrainOptions().gather_options(["--model", name])
        if hasattr(options, "base"):
            found += [(name, "cycle_gan"), (name, "pix2pix")]
        else:
            found.append((name, "pix2pix" if options.dataset_mode == "aligned" else "cycle_gan"))
    return found


def distilling_over(kind: type) -> list[tuple[str, str]]:
    """List the cases whose model is of a kind."""
    return [case for case in cases() if issubclass(plugin_manager().get("models", case[0]), kind)]


DISTILLING, ONLINE = distilling_over(DistillModel), distilling_over(OnlineDistillModel)


class StoppedByTheTestError(Exception):
    """Stands in for a power cut."""


def stop_in_step(monkeypatch: pytest.MonkeyPatch, model: str, number: int) -> None:
    """Have the model's `number`-th step fail before it begins."""
    kind = plugin_manager().get("models", model)
    original, steps = kind.optimize_parameters, iter(range(1, number + 1))

    def step(self: Any) -> None:
        if next(steps) == number:
            raise StoppedByTheTestError
        original(self)

    monkeypatch.setattr(kind, "optimize_parameters", step)


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Flatten nested dicts and lists."""
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in leaves(part, f"{path}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for index, part in enumerate(value) for k, v in leaves(part, f"{path}/{index}").items()}
    return {path: value}


def equal(a: Any, b: Any) -> bool:
    """Compare bit for bit; a NaN would differ from itself."""
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else type(a) is type(b) and a == b


def differing(a: Path, b: Path) -> list[str]:
    """Name the tensors and numbers in which two files differ."""
    one, other = (leaves(torch.load(path, weights_only=True)) for path in (a, b))
    # a clock's, the most memory of whatever ran in this process, and each start has its headline in the log
    own = re.compile(r"/place/seconds$|/pace/memory/|/visualizer/sizes/")
    names = [key for key in sorted(one.keys() | other.keys()) if not own.search(key)]
    return [key for key in names if not equal(one.get(key), other.get(key))]


def run_twice(
    monkeypatch: pytest.MonkeyPatch, write: Callable[..., list[str]], model: str, stop: int, **options: Any
) -> tuple[Path, Path]:
    """Train without a break, and with a power cut and a resume; return the folders."""
    options = SHORT | options
    words = write(name="straight", **options)
    train_script.main(words)
    with monkeypatch.context() as patch, pytest.raises(StoppedByTheTestError):
        stop_in_step(patch, model, stop)
        train_script.main(write(name="broken", **options))
    checkpoints = Path(words[words.index("--checkpoints_dir") + 1])
    assert (checkpoints / "broken" / "latest_state.pth").is_file()
    assert differing(*(checkpoints / name / "latest_state.pth" for name in ("straight", "broken")))
    train_script.main(["--continue_train", "--name", "broken", "--checkpoints_dir", str(checkpoints)])
    return checkpoints / "straight", checkpoints / "broken"


def logged_losses(folder: Path) -> list[dict[str, float]]:
    """Read the losses of each step that was printed."""
    lines = [line for line in (folder / "loss_log.txt").read_text().splitlines() if line.startswith("(")]
    return [{k: float(v) for k, v in re.findall(r"(\w+): (\S+)", line.split(")", 1)[1])} for line in lines]


@pytest.mark.parametrize(("model", "data"), cases())
def test_it_trains_stops_goes_on_and_tests(
    monkeypatch: pytest.MonkeyPatch, flags: Flags, toy: dict[str, Path], tmp_path: Path, model: str, data: str
) -> None:
    # five steps of six (or twelve, where student and teacher take turns): in the middle of a pass
    straight, broken = run_twice(monkeypatch, lambda **options: flags(model, data, **options), model, stop=6)
    files = sorted(path.name for path in straight.glob("*.pth"))
    assert files == sorted(path.name for path in broken.glob("*.pth"))
    assert {name.split("_")[0] for name in files} == {"latest", "2"}
    assert {name: differing(straight / name, broken / name) for name in files} == {name: [] for name in files}
    losses = logged_losses(straight)
    assert len(losses) >= 6 and all(losses)
    assert all(math.isfinite(value) for step in losses for value in step.values())

    where = ["--name", "broken", "--checkpoints_dir", str(broken.parent), "--results_dir", str(tmp_path / "results")]
    test_script.main([*where, "--model", model, "--dataroot", str(toy[data]), "--gpu_ids", "-1"])
    pictures = {path.name for path in (tmp_path / "results" / "broken" / "test_latest" / "images").glob("*.png")}
    assert len({name.split("_")[0] for name in pictures}) == 2
    assert any(name.endswith("_fake_B.png") for name in pictures)
    assert (tmp_path / "results" / "broken" / "test_latest" / "index.html").is_file()


@pytest.mark.parametrize(
    ("model", "data", "stop"),
    [
        *(("crd", data, stop) for data, stop in (("cycle_gan", 5), ("cycle_gan", 7), ("pix2pix", 2))),
        *(("crd", "pix2pix", 9), ("crd", "pix2pix", 12), ("dcd", "cycle_gan", 5), ("dcd", "pix2pix", 9)),
    ],
)
def test_taking_turns_goes_on_from_every_kind_of_turn(
    monkeypatch: pytest.MonkeyPatch, flags: Flags, model: str, data: str, stop: int
) -> None:
    """Stop a run of (teacher 3, student 3) x 2 steps in either's turn and between them; the best teacher is remembered."""
    straight, broken = run_twice(
        monkeypatch,
        lambda **options: flags(model, data, **options),
        model,
        stop,
        **INTERLEAVED,
        save_latest_freq=1,
        no_html=True,
        student_discriminator="collaborative",
    )
    for name in sorted(path.name for path in straight.glob("*.pth")):
        assert differing(straight / name, broken / name) == []


def test_going_on_does_not_depend_on_the_number_of_workers(monkeypatch: pytest.MonkeyPatch, flags: Flags) -> None:
    def write(**options: Any) -> list[str]:
        return flags("pix2pix", "pix2pix", **options | {"num_threads": 1 if options["name"] == "broken" else 0})

    straight, broken = run_twice(monkeypatch, write, "pix2pix", stop=5)
    for name in ("latest_net_G.pth", "latest_net_D.pth", "latest_state.pth"):
        assert differing(straight / name, broken / name) == []


@pytest.mark.parametrize(("model", "data"), [("reko", "pix2pix"), ("crd", "cycle_gan")])
def test_the_best_and_the_average_go_on_too(
    monkeypatch: pytest.MonkeyPatch, flags: Flags, tmp_path: Path, model: str, data: str
) -> None:
    layers, file = backbone_layers("squeezenet", "random"), tmp_path / "squeezenet.pth"
    torch.save(layers.state_dict(), file)
    options = {"eval_freq": 1, "ema": 0.9, "ksd_weights": file, "n_epochs": 3, "no_html": True}
    options |= INTERLEAVED if model == "crd" else {}
    straight, broken = run_twice(monkeypatch, lambda **o: flags(model, data, **o), model, stop=6, **options)
    files = sorted(path.name for path in straight.glob("*.pth"))
    assert {"best_net_G.pth", "latest_net_G_ema.pth"} < set(files)
    assert {name: differing(straight / name, broken / name) for name in files} == {name: [] for name in files}
    scores = [{(line["epoch"], line["network"], line["variant"]): (line["value"], line["student_steps"])
               for line in read_lines(folder / "metrics.jsonl")} for folder in (straight, broken)]  # fmt: skip
    assert scores[0] == scores[1] and len(scores[0]) == (9 if model == "crd" else 6)


def test_a_finished_run_goes_on_with_more_epochs(flags: Flags) -> None:
    words = flags("pix2pix", "pix2pix", name="more", **SHORT | {"n_epochs": 1})
    train_script.main(words)
    folder = Path(words[words.index("--checkpoints_dir") + 1]) / "more"
    before = torch.load(folder / "latest_net_G.pth", weights_only=True)
    arguments = ["--continue_train", "--name", "more", "--checkpoints_dir", str(folder.parent)]
    train_script.main([*arguments, "--n_epochs", "2"])
    after = torch.load(folder / "latest_net_G.pth", weights_only=True)
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert (folder / "2_net_G.pth").is_file() and len(logged_losses(folder)) == 6


# --- objectives -----------------------------------------------------------------------------------------------------


def distilling(flags: Flags, parse: Parse, model: str, data: str, **options: Any) -> Any:
    """Build a distilling model and hand it a batch of real data."""
    if (model, data) in ONLINE:
        options["schedule"] = "joint"
    opt = parse(flags(model, data, batch_size=3, **options))
    torch.manual_seed(0)
    built = create_model(opt)
    built.setup(opt)
    built.set_input(next(iter(create_dataset(opt))))
    return built


@pytest.mark.parametrize(("model", "data"), ONLINE)
def test_every_objective_has_a_weight_and_a_gradient(flags: Flags, parse: Parse, model: str, data: str) -> None:
    built = distilling(flags, parse, model, data)
    assert built.teacher is not None
    built.forward()
    built.teacher.forward()
    built.teacher_fake_B = getattr(built.teacher, built.direction.image).detach()
    sides = built.translations()
    names: list[str] = []
    if built.taps_S:
        sides[0].features, sides[1].features = built.taps_S.take(), built.taps_T.take(detach=True)
    for objective in built.objectives:
        assert getattr(built.opt, objective.weight) != 0
        losses = objective(*sides)
        assert losses and set(losses) <= set(objective.loss_names)
        names += losses
        for loss in losses.values():
            gradients = torch.autograd.grad(loss, list(built.netG.parameters()), retain_graph=True, allow_unused=True)
            assert all(g.isfinite().all() for g in gradients if g is not None)
            assert any(g.abs().max() > 0 for g in gradients if g is not None)
    assert len(names) == len(set(names))  # a loss that shared its name would be lost


@pytest.mark.parametrize(("model", "data"), DISTILLING)
def test_leaving_an_objective_out_changes_the_update(flags: Flags, parse: Parse, model: str, data: str) -> None:
    def update(**options: Any) -> dict[str, Tensor]:
        built = distilling(flags, parse, model, data, **options)
        built.optimize_parameters()
        nets = built.networks()
        return {f"{name}.{key}": v.clone() for name, net in nets.items() for key, v in net.state_dict().items()}

    whole = update()
    again = update()
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    opt = parse(flags(model, data))
    names = plugin_manager().get("models", model).objective_names
    weights = [plugin_manager().get("objectives", name).weight for name in names]
    used = [weight for weight in weights if getattr(opt, weight) != 0]  # some are there to be added
    assert used
    for weight in used:
        without = update(**{weight: 0})
        assert any(not torch.equal(whole[key], without[key]) for key in whole), weight
