"""A training that is asked to stop, runs out of disk or meets a NaN leaves a checkpoint that goes on."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from datasets.make_toy import make_toy
from models import create_model
from models.pix2pix_model import Pix2PixModel
from options.train_options import TrainOptions
from util.files import MACHINE

ROOT = Path(__file__).resolve().parents[1]
TINY = "--model pix2pix --gpu_ids -1 --display_id 0 --netG resnet_6blocks --ngf 2 --ndf 2 --load_size 32 --crop_size 32"
TINY += " --norm instance --seed 3 --print_freq 1 --display_freq 1 --save_epoch_freq 1"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder with a paired set."""
    monkeypatch.chdir(tmp_path)
    make_toy(tmp_path / "photos", size=32, train=3, test=1, paired=True)
    return tmp_path


def run(flags: str, name: str = "run") -> Path:
    """Train in this process."""
    train.main(f"{TINY} --num_threads 0 --dataroot photos --name {name} {flags}".split())
    return Path("checkpoints") / name


def go_on(flags: str = "", name: str = "run") -> None:
    train.main(["--continue_train", "--name", name, *flags.split()])


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "latest_state.pth", weights_only=True)


def agree(folder: Path) -> bool:
    """Tell whether the files of the latest networks hold what the state holds."""
    networks = state(folder)["model"]["networks"].items()
    files = {name: torch.load(folder / f"latest_net_{name}.pth", weights_only=True) for name, _ in networks}
    return all(torch.equal(files[name][key], value) for name, weights in networks for key, value in weights.items())


def loss_lines(folder: Path) -> list[str]:
    lines = [line for line in (folder / "loss_log.txt").read_text().splitlines() if line.startswith("(")]
    return [re.sub(r"time: .*?\) ", "", line) for line in lines]


@contextlib.contextmanager
def at_step(number: int, do: Callable[[Any], None], moment: str = "after") -> Iterator[None]:
    """Have something happen in the `number`-th step of the process, before or after it is taken."""
    original, steps = Pix2PixModel.optimize_parameters, iter(range(1, 10**6))

    def step(model: Any) -> None:
        now = next(steps) == number
        if now and moment == "before":
            do(model)
        original(model)
        if now and moment == "after":
            do(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pix2PixModel, "optimize_parameters", step)
        yield


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_all_processes_ends_the_step_and_saves(here: Path, number: signal.Signals, code: int) -> None:
    words = [sys.executable, str(ROOT / "train.py"), *TINY.split(), "--dataroot", "photos", "--name", "my run"]
    words += ["--num_threads", "1", "--n_epochs", "100000", "--save_epoch_freq", "0", "--save_latest_freq", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(words, env=environment, start_new_session=True, stdout=-1, stderr=-1, text=True)
    log = here / "checkpoints" / "my run" / "loss_log.txt"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("epoch: 2")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, number)  # the worker gets it too
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "stopping after this step" in err and "Traceback" not in err and "error" not in err
    place = state(log.parent)["progress"]["place"]
    command = "python train.py --continue_train --name 'my run'"
    assert out.splitlines()[-1] == (
        f"stopped by {number.name} and saved after step {place['steps']}; go on with: {command}"
    )
    assert place["steps"] == len(loss_lines(log.parent)) >= 4 and agree(log.parent)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    whole = run("--n_epochs 1 --n_epochs_decay 1 --save_latest_freq 0", "whole")
    with at_step(2, lambda _: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(SystemExit) as ended:
        run("--n_epochs 1 --n_epochs_decay 1 --save_latest_freq 1 --save_by_iter --checkpoints_dir other", "parts")
    parts = Path("other/parts")
    assert ended.value.code == 143
    assert capsys.readouterr().out.splitlines()[-1].endswith("--continue_train --name parts --checkpoints_dir other")
    assert state(parts)["progress"]["place"]["steps"] == 2 and (parts / "iter_1_net_G.pth").is_file()
    go_on("--checkpoints_dir other", "parts")
    assert loss_lines(parts) == loss_lines(whole)
    for name in ("latest_net_G.pth", "2_net_D.pth"):
        ours, theirs = (torch.load(folder / name, weights_only=True) for folder in (parts, whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_signal_after_the_last_step_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    original = train.BaseModel.update_learning_rate

    def update(model: Any) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return original(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.BaseModel, "update_learning_rate", update)
        folder = run("--n_epochs 1 --n_epochs_decay 0 --no_html")
    assert "stopped by" not in capsys.readouterr().out and (folder / "1_net_G.pth").is_file()
    go_on()  # returns: the exit code is 0
    assert "nothing is left to train: epoch 1 is the last" in capsys.readouterr().out


# --- saving -----------------------------------------------------------------------------------------------------------


def test_minutes_and_pruning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(train.Timer, "due", lambda timer: timer.seconds == 30 and next(steps) in (2, 5))
    steps = iter(range(1, 100))
    folder = run(
        "--n_epochs 4 --n_epochs_decay 0 --no_html --save_every_minutes 0.5 --save_latest_freq 0 --keep_checkpoints 2"
    )
    said = re.findall(r"saving the latest model \(epoch (\d), total_iters (\d+)\)", capsys.readouterr().out)
    assert said == [("1", "2"), ("2", "5")]
    assert sorted(path.name for path in folder.glob("*_net_G.pth")) == [
        "3_net_G.pth",
        "4_net_G.pth",
        "latest_net_G.pth",
    ]


def test_a_disk_that_fills_up_leaves_the_save_before(capsys: pytest.CaptureFixture[str]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))

    try:
        with at_step(3, fill), pytest.raises(SystemExit) as ended:
            run("--n_epochs 2 --n_epochs_decay 0 --no_html --save_latest_freq 1 --save_epoch_freq 0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    folder = Path("checkpoints/run")
    error = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2
    assert re.match(
        r"error: checkpoints/run/latest_state\.pth can't be written \(File too large\): it takes [\d,]+ bytes", error
    )
    assert not list(folder.glob(".*")) and state(folder)["progress"]["place"]["steps"] == 2 and agree(folder)
    go_on()
    assert "going on in epoch 1, after step 2" in capsys.readouterr().out


def test_the_state_wins_over_networks_that_a_killed_save_left() -> None:
    folder = run("--n_epochs 1 --n_epochs_decay 0 --no_html --max_dataset_size 1")
    network = torch.load(folder / "latest_net_G.pth", weights_only=True)
    torch.save({key: value + 1 for key, value in network.items()}, folder / "latest_net_G.pth")
    (folder / "latest_net_D.pth").unlink()
    (folder / f".latest_net_D.pth.{MACHINE}.999999999.tmp").touch()
    go_on()  # nothing is left to train, and yet:
    assert agree(folder) and not list(folder.glob(".*"))


def test_only_the_first_process_writes_the_networks_that_a_resume_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run("--n_epochs 1 --n_epochs_decay 0 --no_html --max_dataset_size 1")
    torch.save({}, folder / "latest_net_G.pth")
    opt = TrainOptions().parse(["--continue_train", "--name", folder.name])
    for first, written in ((False, 0), (True, 1)):
        monkeypatch.setattr("models.base_model.is_first", lambda first=first: first)
        model = create_model(opt)
        model.setup(opt)
        model.load_state()
        assert bool(torch.load(folder / "latest_net_G.pth", weights_only=True)) == written


def test_a_state_of_another_format(capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("--n_epochs 1 --n_epochs_decay 0 --no_html --max_dataset_size 1")
    content = state(folder)
    for found, said in ((99, "a newer PocketGAN wrote it"), (0, "it has format 0"), (None, "nothing tells its format")):
        torch.save(content | {"format": found}, folder / "latest_state.pth")
        with pytest.raises(SystemExit) as ended:
            go_on()
        assert ended.value.code == 2 and said in capsys.readouterr().err
    torch.save(content | {"model": {}}, folder / "latest_state.pth")
    with pytest.raises(SystemExit):
        go_on()
    assert "does not fit the model that the options describe (KeyError: 'networks')" in capsys.readouterr().err


FILES = ("1_net_G.pth", "best_net_G.pth", "iter_1_net_G.pth")


def test_no_network_is_there_without_a_state_wherever_a_run_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the power before each of the renames of a run's saves in turn; then go on and end as an undisturbed run does."""
    flags = "--n_epochs 1 --n_epochs_decay 0 --no_html --max_dataset_size 2 --holdout 0.5 --eval_freq 1 --ema 0.5"
    flags += " --save_latest_freq 1 --save_by_iter"
    renames: list[str] = []
    replace = Path.replace
    left = [10**6]

    def rename(path: Path, target: Path) -> Path:
        if target.suffix == ".pth":
            if left[0] == 0:
                raise PowerCutError
            left[0] -= 1
            renames.append(target.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", rename)
    whole = run(flags, "whole")
    count = len(renames)
    assert renames[0] == "latest_state.pth" and set(FILES) <= set(renames)
    wanted = {path.name: torch.load(path, weights_only=True) for path in whole.glob("*_net_*.pth")}
    for number in range(count):
        left[0] = number
        with pytest.raises(PowerCutError):
            run(flags, f"cut{number}")
        folder, left[0] = Path(f"checkpoints/cut{number}"), 10**6
        assert (folder / "latest_state.pth").is_file() == (number > 0)
        if number:
            go_on(name=folder.name)
        else:
            assert not list(folder.glob("*.pth"))
            run(flags, folder.name)
        found = {path.name: torch.load(path, weights_only=True) for path in folder.glob("*_net_*.pth")}
        assert found.keys() == wanted.keys(), number
        assert all(torch.equal(found[n][k], v) for n, weights in wanted.items() for k, v in weights.items()), number


def test_a_state_names_no_files_but_networks_of_its_run(here: Path) -> None:
    folder = run("--n_epochs 1 --n_epochs_decay 0 --no_html --max_dataset_size 1")
    content = state(folder)
    names = ("../../outside_net_G.pth", "train_opt.json", "9_net_G.pth", "best_net_G.pth")
    content["progress"]["files"] = dict.fromkeys(names, "G") | {"8_net_G.pth": "no network"}
    torch.save(content, folder / "latest_state.pth")
    options = (folder / "train_opt.json").read_text()
    go_on()
    assert json.loads((folder / "train_opt.json").read_text())["name"] == json.loads(options)["name"]
    assert not list(here.rglob("outside*")) and not (folder / "8_net_G.pth").exists()
    assert (folder / "9_net_G.pth").is_file() and (folder / "best_net_G.pth").is_file()


# --- going on -----------------------------------------------------------------------------------------------------------


class PowerCutError(Exception):
    """Stands in for one."""


def cut_power(_: object) -> None:
    raise PowerCutError


def test_a_resume_cuts_back_what_came_after_the_save() -> None:
    flags = "--n_epochs 4 --n_epochs_decay 0 --save_epoch_freq 0 --save_latest_freq 5 --update_html_freq 1"
    whole = run(flags, "whole")
    with at_step(9, cut_power), pytest.raises(PowerCutError):  # in the third epoch; saved in the second
        run(flags, "parts")
    parts = Path("checkpoints/parts")
    line = json.dumps({"metric": "kid", "weights": "ab12", "epoch": 3}) + "\n"  # as a training writes it
    (parts / "metrics.jsonl").write_text(line)
    assert len(loss_lines(parts)) == 8 and (parts / "web/images/epoch003_fake_B.png").is_file()
    with at_step(1, cut_power, "before"), pytest.raises(PowerCutError):
        go_on(name="parts")
    assert loss_lines(parts) == loss_lines(whole)[:5] and (parts / "metrics.jsonl").read_text() == ""
    assert {path.name[:8] for path in (parts / "web/images").iterdir()} == {"epoch001", "epoch002"}
    go_on(name="parts")
    assert loss_lines(parts) == loss_lines(whole)
    pages = [(folder / "web/index.html").read_text() for folder in (parts, whole)]
    assert pages[0].replace("parts", "whole") == pages[1]
    pictures = [{p.name: p.read_bytes() for p in (folder / "web/images").iterdir()} for folder in (parts, whole)]
    assert pictures[0] == pictures[1]
    curves = [state(folder)["progress"]["visualizer"]["losses"] for folder in (parts, whole)]
    assert curves[0] == curves[1]


def test_more_images_than_at_the_save(capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("--n_epochs 1 --n_epochs_decay 0 --no_html")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    first = min(Path("photos/train").iterdir())
    first.with_name("zzz.png").write_bytes(first.read_bytes())
    with pytest.raises(SystemExit) as ended:
        go_on("--n_epochs 2")
    assert ended.value.code == 2
    assert "3 images when the run was saved, and 4 now" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_upstreams_networks_go_on_without_a_state(capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("--n_epochs 1 --n_epochs_decay 0 --no_html --max_dataset_size 1")
    weights = torch.load(folder / "latest_net_G.pth", weights_only=True)
    for path in folder.iterdir():
        if not path.name.startswith("latest_net"):
            path.unlink()
    seen: list[Any] = []
    with at_step(1, lambda model: seen.append(model.netG.state_dict()["model.1.weight"].clone()), "before"):
        run(
            "--continue_train --epoch_count 3 --n_epochs 2 --n_epochs_decay 2 --lr 0.003 --no_html --max_dataset_size 1"
        )
    out = capsys.readouterr().out
    assert "loading the model from checkpoints/run/latest_net_G.pth" in out
    assert "no latest_state.pth: optimizers and image pools start anew, in epoch 3 (--epoch_count)" in out
    assert "End of epoch 3 / 4" in out and "learning rate 0.0020000 -> 0.0010000" in out
    assert torch.equal(seen[0], weights["model.1.weight"])
    assert not (folder / "1_net_G.pth").exists() and (folder / "4_net_G.pth").is_file()
    go_on("--n_epochs 3")  # now it has a state of its own
    assert "going on in epoch 5" in capsys.readouterr().out


# --- steps that are not finite --------------------------------------------------------------------------------------------


def poison(network: str, value: float) -> Callable[[Any], None]:
    """Return what makes the next gradient of a network's first weight `value`, with all losses as they were."""

    def do(model: Any) -> None:
        weight = next(getattr(model, network).requires_grad_(True).parameters())
        handle = weight.register_hook(lambda gradient: (handle.remove(), torch.full_like(gradient, value))[1])

    return do


def test_a_gradient_that_is_not_finite_stops_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    with at_step(2, poison("netG", float("nan")), "before"), pytest.raises(SystemExit) as ended:
        run("--n_epochs 2 --n_epochs_decay 0 --no_html --save_latest_freq 1")
    error = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2
    assert (
        "training stopped at step 2: gradient of G (model.1.weight) = nan (files of that step: photos/train/" in error
    )
    folder = Path("checkpoints/run")
    assert state(folder)["progress"]["place"]["steps"] == 1 and agree(folder)


@pytest.mark.parametrize(("network", "value"), [("netG", float("inf")), ("netD", float("nan"))])
def test_skipping_leaves_that_network_and_its_optimizer_alone(
    capsys: pytest.CaptureFixture[str], network: str, value: float
) -> None:
    flags = "--n_epochs 1 --n_epochs_decay 0 --no_html --on_nonfinite skip --max_nonfinite 1 --save_latest_freq 1"
    with at_step(2, poison(network, value), "before"), at_step(3, cut_power, "before"), pytest.raises(PowerCutError):
        run(f"{flags} --save_by_iter")
    out = capsys.readouterr().out
    name = network[-1]
    key = "model.1.weight" if name == "G" else "model.0.weight"
    assert f"skipped at step 2: gradient of {name} ({key}) = {value} (files of that step: photos/train/" in out
    assert "; 1 of at most 1" in out
    for other in ("G", "D"):
        before, after = (torch.load(f"checkpoints/run/iter_{n}_net_{other}.pth", weights_only=True) for n in (1, 2))
        moved = any(not torch.equal(before[key], after[key]) for key in before)
        assert moved == (other != name)


def test_the_count_of_skipped_steps_is_remembered_and_ends_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--n_epochs 2 --n_epochs_decay 0 --no_html --on_nonfinite skip --max_nonfinite 1"
    with (
        at_step(2, poison("netG", float("nan")), "before"),
        at_step(5, cut_power, "before"),
        pytest.raises(PowerCutError),
    ):
        run(flags)
    folder = Path("checkpoints/run")
    assert state(folder)["progress"]["watch"] == {"skipped": 1}
    capsys.readouterr()
    with at_step(2, poison("netG", float("nan")), "before"), pytest.raises(SystemExit):
        go_on()
    error = capsys.readouterr().err.splitlines()[-1]
    assert "training stopped at step 5: gradient of G" in error
    assert "that makes 2 skipped steps, and --max_nonfinite allows 1" in error
    assert state(folder)["progress"]["place"]["steps"] == 3
