"""Several processes that train one model: what they see and write together is what one process sees and writes."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import data.loader
import train
from data.loader import Loader
from data.sampling import PassSampler, Share
from models.base_model import BaseModel
from models.pix2pix_model import Pix2PixModel
from util import distributed
from util.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = "--netG resnet_6blocks --ngf 2 --ndf 4 --crop_size 32 --load_size 36"
TINY = f"--gpu_ids -1 --num_threads 0 --display_id 0 --no_html --seed 1 --print_freq 2 --n_epochs 1 {NETWORKS}"
UNPAIRED, PAIRED = f"{TINY} --dataroot cycle_gan", f"{TINY} --dataroot pix2pix"
PERCEPTUAL = "--perceptual squeezenet --perceptual_weights random"
ONLINE = f"--teacher_ngf 4 {PERCEPTUAL}"

# Models without anything that a batch decides as a whole or that is drawn: no batch norm, dropout or image pool.
EXACT = {
    "cycle_gan": f"--model cycle_gan {UNPAIRED}",
    "pix2pix": f"--model pix2pix {PAIRED} --norm instance --no_dropout",
    "reko": f"--model reko {UNPAIRED} --teacher teachers/cycle_gan --trainable_projection",
    "portable": f"--model portable {UNPAIRED} --teacher teachers/cycle_gan",
    "crd_joint": f"--model crd {UNPAIRED} {ONLINE} --patch_size 8 --schedule joint "
    "--pretrained_D teachers/cycle_gan/latest_net_D_A.pth --freeze_D",
    "crd_interleaved": f"--model crd {PAIRED} --norm instance {ONLINE} --patch_size 8 --schedule interleaved "
    "--teacher_interval 1 --holdout 0.34 --eval_freq 1 --ema 0.9",
    "dcd": f"--model dcd {UNPAIRED} {ONLINE} --discriminator_layers 4",
}
PLAIN = ["--pool_size", "0", "--n_epochs_decay", "0"]
# Models that several processes train in their own way, each run ending with a check that their copies agree.
RUNNING = {
    "batch": f"--model cycle_gan {UNPAIRED} --norm batch --gan_mode wgangp --pool_size 2 --n_epochs_decay 0",
    "drawn": f"--model pix2pix {PAIRED} --pool_size 3 --lr 0.01 --save_latest_freq 4 --n_epochs_decay 1",
}
REFUSED = {
    "syncbatch": (f"--model pix2pix {PAIRED} --norm syncbatch", "--norm syncbatch works between GPUs only"),
    "hidden": (f"--model pix2pix {PAIRED}", "trains 2 tensors that belong to no network"),
    "unused": (f"--model pix2pix {PAIRED}", "a part of a ResnetGenerator had no influence on any loss"),
    "unshared": (f"--model pix2pix {PAIRED} --norm instance", "copies of network G have drifted apart"),
    "few": (f"--model pix2pix {PAIRED} --max_dataset_size 1", "has 1 images for 2 processes"),
}


# ---- what the processes do, in a process of their own ------------------------------------------------------------------


def run_name(name: str, folder: str) -> list[str]:
    """Return the flags that name a run."""
    return ["--name", name, "--checkpoints_dir", folder]


def in_double(items: list[Any]) -> Any:
    """Collate images as float64, so that what is left of rounding does not count."""
    batch = collate(items)
    return {key: value.double() if isinstance(value, Tensor) else value for key, value in batch.items()}


collate = data.loader.collate


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Train in float64."""
    torch.set_default_dtype(torch.float64)
    with mock.patch("data.loader.collate", in_double):
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def hide_a_layer(model: Pix2PixModel, opt: Namespace) -> None:
    """Train a layer that the model does not name."""
    made(model, opt)
    model.optimizer_G.add_param_group({"params": nn.Linear(1, 1).parameters()})


def ignore_the_output(model: Pix2PixModel) -> None:
    """Learn from half of the generator."""
    model.loss_G_GAN = model.loss_G_L1 = model.netG.model[:4](model.real_A).mean()
    model.loss_G_GAN.backward()


def go_behind_the_wrapper(model: Pix2PixModel) -> None:
    """Call the generator so that nothing is shared."""
    model.fake_B = model.netG.module(model.real_A)


made = Pix2PixModel.__init__
BROKEN: dict[str, tuple[str, Callable[..., None]]] = {
    "hidden": ("__init__", hide_a_layer),
    "unused": ("backward_G", ignore_the_output),
    "unshared": ("forward", go_behind_the_wrapper),
}


def keep_the_first_state(model: BaseModel, progress: Any) -> None:
    """Save, and copy the run's folder as it is at the first time."""
    saved(model, progress)
    copy = model.save_dir.with_name("resumed")
    if not copy.exists():
        shutil.copytree(model.save_dir, copy)


saved = BaseModel.save_state


def process(rank: int, port: int, folder: str) -> None:
    """Be one of two processes, and train everything there is, one after the other."""
    os.chdir(folder)
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    store, number = torch.distributed.TCPStore("localhost", port), itertools.count()

    def meet(url: str) -> Iterator[tuple[Any, int, int]]:
        """Meet in one store, a room per run: ports of one's own might be taken in between."""
        yield torch.distributed.PrefixStore(f"run {next(number)}", store), rank, 2

    def flags_of(name: str, flags: str) -> list[str]:
        return [*flags.split(), *run_name(name, "two")]

    mock.patch("torch.distributed.rendezvous", meet).start()
    for name, flags in EXACT.items():
        with double_precision():
            train.main([*flags_of(name, flags), *PLAIN, "--batch_size", "1"])
    with mock.patch.object(BaseModel, "save_state", keep_the_first_state):
        train.main(flags_of("drawn", RUNNING["drawn"]))
    train.main(flags_of("batch", RUNNING["batch"]))
    for name, (flags, _) in REFUSED.items():
        method, replacement = BROKEN.get(name, ("forward", Pix2PixModel.forward))
        said = io.StringIO()
        with mock.patch.object(Pix2PixModel, method, replacement), contextlib.redirect_stderr(said):
            try:
                train.main(flags_of(name, flags))
            except SystemExit as end:
                print("exit code", end.code, file=said)
        Path(f"{name}_{rank}.txt").write_text(said.getvalue())
        torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def runs(toy: dict[str, Path], teachers: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train everything with two processes; return the folder that holds it, and the data."""
    folder = tmp_path_factory.mktemp("runs")
    for name in toy:
        (folder / name).symlink_to(toy[name])
    (folder / "teachers").symlink_to(teachers["cycle_gan"].parent)
    store = torch.distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    started = torch.multiprocessing.spawn(process, (store.port, str(folder)), nprocs=2, join=False)
    deadline = time.monotonic() + 400
    while not started.join(timeout=10):
        if time.monotonic() > deadline:
            for one in started.processes:
                one.kill()
            pytest.fail("the processes wait for one another")
    return folder


def weights(run: Path) -> dict[str, dict[str, Tensor]]:
    """Return the weights of all networks of a run, and of what its objectives train, by file."""
    files = sorted(run.glob("latest_net_*.pth"))
    state = torch.load(run / "latest_state.pth", weights_only=True)
    adapters = state["model"]["extra"].get("objectives", {})
    return {file.name: torch.load(file, weights_only=True) for file in files} | {
        f"objective {part}": adapter for part, adapter in adapters.items()
    }


def scores(run: Path) -> dict[tuple[str, str, str], float]:
    """Return what the lines of a run's evaluations say."""
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    found = {(line["network"], line["variant"], line["metric"]): line["value"] for line in lines}
    assert len(found) == len(lines)  # one line each, however many processes scored
    return found


def losses(run: Path) -> list[float]:
    """Return all the losses of a run's log, in its order."""
    lines = [line.split(") ", 1)[1] for line in (run / "loss_log.txt").read_text().splitlines() if line[0] == "("]
    return [float(number) for line in lines for number in re.findall(r": (-?[\d.]+)", line)]


# ---- together they are as one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXACT)
def test_two_processes_train_the_weights_of_one(name: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    with double_precision():
        train.main([*EXACT[name].split(), *run_name(name, "one"), *PLAIN, "--batch_size", "2"])
    one, two = weights(runs / "one" / name), weights(runs / "two" / name)
    assert one.keys() == two.keys() and len(one) >= 2
    for file in one:
        assert list(one[file]) == list(two[file])
        for key in one[file]:
            torch.testing.assert_close(two[file][key], one[file][key], rtol=1e-5, atol=1e-7, msg=f"{file} {key}")
    assert len(scores(runs / "one" / name)) == (3 if "--eval_freq" in EXACT[name] else 0)
    assert scores(runs / "two" / name) == pytest.approx(scores(runs / "one" / name), rel=1e-5)
    first, second = losses(runs / "one" / name), losses(runs / "two" / name)
    assert first and second == pytest.approx(first, abs=0.0011)


def test_a_resumed_run_under_torchrun_ends_as_an_uninterrupted_one(runs: Path) -> None:
    ended = torchrun([*run_name("resumed", "two"), "--continue_train"], runs)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("going on in epoch 1, after step 2") == 1
    straight, resumed = weights(runs / "two" / "drawn"), weights(runs / "two" / "resumed")
    assert straight.keys() == resumed.keys()
    for file in straight:
        for key in straight[file]:
            assert torch.equal(straight[file][key], resumed[file][key]), (file, key)
    one, other = (
        torch.load(runs / "two" / name / "latest_state.pth", weights_only=True) for name in ("drawn", "resumed")
    )
    pool = [state["progress"]["processes"][0]["pools"]["fake_AB_pool"]["images"] for state in (one, other)]
    assert len(pool[0]) == 3 and all(torch.equal(a, b) for a, b in zip(*pool, strict=True))


def test_the_processes_own_pools_and_randomness_are_saved(runs: Path) -> None:
    state = torch.load(runs / "two" / "drawn" / "latest_state.pth", weights_only=True)
    first, second = state["model"]["extra"], state["progress"]["processes"][0]["pools"]
    pools = first["fake_AB_pool"], second["fake_AB_pool"]
    assert not torch.equal(pools[0]["images"][0], pools[1]["images"][0])
    assert pools[0]["random"] != pools[1]["random"]
    assert not torch.equal(state["progress"]["random"]["torch"], state["progress"]["processes"][0]["random"]["torch"])


def test_another_number_of_processes_can_not_go_on(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    with pytest.raises(SystemExit) as end:
        train.main([*run_name("batch", "two"), "--continue_train"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "batch was trained by 2 processes, and this is one process" in said and "--nproc_per_node=2" in said


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_trained_together_is_refused_once(name: str, runs: Path) -> None:
    said = [(runs / f"{name}_{rank}.txt").read_text() for rank in (0, 1)]
    assert all("exit code 2" in one for one in said)
    assert "".join(said).count("error: ") == 1 and "Traceback" not in "".join(said)
    assert REFUSED[name][1] in "".join(said)
    assert not list((runs / "two" / name).glob("*.pth"))


# ---- torchrun ----------------------------------------------------------------------------------------------------------


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(ROOT / "train.py")]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def torchrun(flags: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run train.py with two processes, as people do."""
    return subprocess.run([*TORCHRUN, *flags], cwd=folder, env=ONE_THREAD, capture_output=True, text=True, timeout=300)


def test_one_failing_process_ends_the_run_with_its_sentence(toy: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(toy["pix2pix"], tmp_path / "pix2pix")
    broken = sorted((tmp_path / "pix2pix" / "train").glob("*.png"))[3]
    content = bytearray(broken.read_bytes())
    middle = content.index(b"IDAT") + 20
    content[middle : middle + 20] = bytes(20)  # the header is whole, so only who decodes it knows
    broken.write_bytes(content)
    ended = torchrun([*RUNNING["drawn"].split(), "--checkpoints_dir", "failed"], tmp_path)
    assert ended.returncode != 0
    sentences = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1 and broken.name in sentences[0]
    assert ended.stdout.count("Options ----") == 1  # only the first process speaks


def test_all_processes_stop_at_one_step_and_one_of_them_says_how_to_go_on(toy: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "pix2pix").symlink_to(toy["pix2pix"])
    flags = [*RUNNING["drawn"].split(), "--checkpoints_dir", "c", "--name", "asked", "--n_epochs", "5000"]
    log, said = tmp_path / "c" / "asked" / "loss_log.txt", tmp_path / "said.txt"
    with said.open("w") as output:
        run = subprocess.Popen([*TORCHRUN, *flags], cwd=tmp_path, env=ONE_THREAD, stdout=output, stderr=output)
        deadline = time.monotonic() + 200
        while "(epoch: 2" not in (log.read_text() if log.exists() else "") and run.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        run.terminate()
        assert run.wait(100) != 0
    text = said.read_text()
    steps = torch.load(log.with_name("latest_state.pth"), weights_only=True)["progress"]["place"]["steps"]
    again = "torchrun --nproc_per_node=2 train.py --continue_train --name asked --checkpoints_dir c"
    assert text.count(f"stopped by SIGTERM and saved after step {steps}; go on with: {again}") == 1
    assert text.count("error: ") == 0


# ---- one of them fails, or they are told how to start ------------------------------------------------------------------


WAITING = """
import threading
from util import distributed
from util.errors import UserError

@distributed.joined()
def main():
    if distributed.rank() == 1:
        raise UserError("the second fails")
    threading.Event().wait()  # as for a GPU that waits for the second's: without end, and deaf

main()
"""


def test_a_process_that_waits_for_one_that_failed_is_ended() -> None:
    store = torch.distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port), "PYTHONPATH": str(ROOT)}
    common |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}  # as torchrun has it
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WAITING],
            env=ONE_THREAD | common | {"RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        said = [one.communicate(timeout=200)[1] for one in started]
    finally:
        for one in started:
            one.kill()
    assert said[1].strip() == "error: the second fails" and "error" not in said[0]
    assert [one.returncode for one in started] == [1, 2]


FULL_GPU = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 7 GiB."
)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.png"), 2, "error: a.png: No such file or directory"),
        (FULL_GPU, 2, "error: CUDA out of memory. Tried to allocate 2.50 GiB; a smaller --batch_size"),
        (UserError("type this"), 2, "error: type this"),
        (ValueError("a bug"), 1, "Traceback"),
    ],
)
def test_what_a_process_says_that_fails(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, words: str
) -> None:
    messages = torch.distributed.HashStore()
    with pytest.raises(type(error)) as raised:
        raise error
    assert distributed._say_once(raised.value, messages) == code
    said = capsys.readouterr().err
    assert said.lstrip().startswith(words) and ("Traceback" in said) == (code == 1)
    assert distributed._say_once(raised.value, messages) == code and not capsys.readouterr().err


@pytest.mark.parametrize(
    ("now", "here", "wanted", "words"),
    [
        (8, 4, 8, "torchrun --nnodes=2 --nproc_per_node=4"),
        (8, 4, 12, "torchrun --nnodes=3 --nproc_per_node=4"),
        (8, 4, 6, "torchrun --nproc_per_node=6"),
        (2, 1, 2, "torchrun --nnodes=2 --nproc_per_node=1"),
        (4, 4, 4, "torchrun --nproc_per_node=4"),
        (4, None, 4, "torchrun --nproc_per_node=4"),
        (1, None, 4, "torchrun --nproc_per_node=4"),
        (1, 1, 4, "torchrun --nproc_per_node=4"),
        (8, 4, 1, "python"),
    ],
)
def test_the_words_that_start_as_many_again(
    now: int, here: int | None, wanted: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: now)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if here:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here))
    assert " ".join(distributed.start_words(wanted)) == words


def test_a_run_on_two_machines_is_told_to_go_on_on_two(monkeypatch: pytest.MonkeyPatch) -> None:
    a_machine(monkeypatch, processes=4, rank=0, gpus=4)
    monkeypatch.setattr(distributed, "world_size", lambda: 8)
    again = "torchrun --nnodes=2 --nproc_per_node=4 train.py --continue_train --name h2z"
    assert train.go_on_command(Namespace(name="h2z", checkpoints_dir="checkpoints")) == again
    with pytest.raises(
        UserError, match=r"this is 8 processes.* with 12 processes in all \(--nnodes=3 --nproc_per_node=4"
    ):
        distributed.refuse_other_number(12, "h2z")


# ---- who takes which images --------------------------------------------------------------------------------------------


def positions(length: int, rank: int, processes: int, size: int, start: int = 0) -> list[int]:
    """Return the positions that a process takes of a pass."""
    sampler = PassSampler(length, seed=1, shuffle=True, share=Share(rank, processes, size))
    sampler.start = start
    taken = [key.position for key in sampler]
    assert len(sampler) == len(taken)
    return taken


@pytest.mark.parametrize(("length", "start"), [(12, 0), (10, 0), (11, 0), (7, 0), (12, 4), (10, 8)])
def test_the_processes_part_each_batch_between_them(length: int, start: int) -> None:
    processes, size = 2, 2
    shares = [positions(length, rank, processes, size, start) for rank in range(processes)]
    whole = length - length % processes
    for first in range(start, whole, processes * size):
        batch = list(range(first, min(first + processes * size, whole)))
        half = len(batch) // 2
        step = (first - start) // processes
        assert [share[step : step + half] for share in shares] == [batch[:half], batch[half:]]
    assert sorted(position for share in shares for position in share) == list(range(start, whole))


def test_the_order_is_that_of_one_process() -> None:
    alone = {key.position: key.item for key in PassSampler(9, seed=1, shuffle=True)}
    shared = [key for rank in range(3) for key in PassSampler(9, 1, shuffle=True, share=Share(rank, 3, 2))]
    assert {key.position: key.item for key in shared} == alone


class Numbers(Dataset[int]):
    """Seven items."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> int:
        return index


def test_a_loader_counts_the_images_of_all_processes() -> None:
    opt = Namespace(
        batch_size=1, num_threads=0, serial_batches=True, max_dataset_size=-1, dataroot="numbers", dataset_mode="single"
    )
    loaders = [Loader(Numbers(), opt, Share(rank, 2, 1)) for rank in range(2)]
    assert [len(loader) for loader in loaders] == [6, 6]
    assert [[int(batch) for batch in loader] for loader in loaders] == [[0, 2, 4], [1, 3, 5]]


# ---- GPUs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "rank", "own"), [([0], 0, 0), ([0], 1, 1), ([2, 3], 0, 2), ([2, 3], 1, 3), ([3, 1, 0], 1, 1)]
)
def test_each_process_has_a_gpu_of_its_own(
    ids: list[int], rank: int, own: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_machine(monkeypatch, processes=2, rank=rank, gpus=4)
    assert distributed.own_device(ids) == [own]


@pytest.mark.parametrize(
    ("ids", "gpus", "words"), [([0], 1, "--nproc_per_node=1"), ([3], 4, "--gpu_ids 3: each needs")]
)
def test_too_few_gpus_are_refused(ids: list[int], gpus: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a_machine(monkeypatch, processes=2, rank=0, gpus=gpus)
    with pytest.raises(UserError, match=words):
        distributed.own_device(ids)


def test_a_single_process_takes_what_it_is_given() -> None:
    assert distributed.own_device([3, 1]) == [3, 1]


def a_machine(monkeypatch: pytest.MonkeyPatch, processes: int, rank: int, gpus: int) -> None:
    """Pretend to be one of several processes on a machine with GPUs."""
    monkeypatch.setattr(distributed, "world_size", lambda: processes)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setenv("LOCAL_RANK", str(rank))
