"""`python evaluate.py`: every direction of a run, a folder against a folder, a line per number, a sentence per mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import evaluate
import test
from datasets.make_toy import make_toy
from models import create_model
from models.networks import define_G
from options.base_options import save_options
from options.train_options import TrainOptions
from util.backbones import backbone_layers
from util.checkpoint import save_checkpoint
from util.metrics.record import FACTS
from util.plugin_manager import plugin_manager
from util.provenance import provenance, sha256
from util.run import Place

ROOT = Path(__file__).resolve().parents[1]
TINY = "--gpu_ids -1 --display_id 0 --load_size 32 --crop_size 32 --netG resnet_6blocks --ngf 2 --ndf 2 --seed 3"
CRD = "--teacher_ngf 3 --patch_size 8 --lambda_perceptual 0 --schedule interleaved --n_epochs 3 --n_epochs_decay 0"
CRD += " --teacher_interval 2"
Evaluate = Callable[[str], str]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save untrained runs as training leaves them: a CycleGAN, a Pix2Pix from B to A, and CRD after its last epoch."""
    root = tmp_path_factory.mktemp("saved")
    make_toy(root / "unpaired", size=32, train=3, test=4)
    make_toy(root / "paired", size=32, train=2, test=3, paired=True)
    save_checkpoint({f"features.{k}": v for k, v in backbone_layers("squeezenet", "random").state_dict().items()},
                    root / "squeezenet.pth")  # fmt: skip
    runs = (
        ("h2z", "unpaired", "--model cycle_gan"),
        ("facades", "paired", "--model pix2pix --direction BtoA"),
        ("small", "unpaired", f"--model crd {CRD}"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("TORCH_HOME", str(root / "torch"))
        for name, data, flags in runs:
            opt = TrainOptions().parse(f"--dataroot {data} --name {name} {TINY} {flags}".split())
            model = create_model(opt)
            model.setup(opt)
            save_options(opt)
            model.save_networks("latest")
            # 3 teacher epochs, after which 2 + 1 student epochs follow: 6 passes of 3 steps
            place = Place(epoch=4, passes=6 if name == "small" else 3, steps=18, total_iters=18, seconds=9.5)
            model.save_state({"place": place.state_dict()})
    return root


@pytest.fixture
def here(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a copy of the runs, with an empty cache."""
    shutil.copytree(saved, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "here"


@pytest.fixture
def judge(here: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Return what runs evaluate.py in this process and returns what it printed."""

    def run(command: str) -> str:
        capsys.readouterr()
        evaluate.main(["--gpu_ids", "-1", *command.split()])
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(here: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Return what runs evaluate.py in this process and returns its error."""

    def run(command: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            evaluate.main(["--gpu_ids", "-1", *command.split()])
        assert ended.value.code == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ") and "Traceback" not in err
        return err

    return run


def lines(path: str) -> list[dict]:
    """Read a file of numbers, whose lines have the same keys."""
    found = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert all(list(line) == ["metric", "value", *FACTS, *provenance()] for line in found)
    return found


def test_both_directions_of_a_cyclegan(here: Path, judge: Evaluate) -> None:
    out = judge("--name h2z --features squeezenet.pth --metrics fid,l1,complexity --latency_repeats 2")
    found = {(line["network"], line["metric"]): line for line in lines("checkpoints/h2z/metrics.jsonl")}
    names = ["fsd", "ksd", "l1", "parameters", "macs_true", "macs_paper", "macs_no_transposed", "bytes"]
    names += ["latency_ms", "peak_memory"]
    assert list(found) == [(network, name) for network in ("G_A", "G_B") for name in names]
    for network, direction in (("G_A", "AtoB"), ("G_B", "BtoA")):
        line = found[network, "fsd"]
        assert (line["direction"], line["variant"], line["epoch"], line["split"]) == (
            direction,
            "last",
            "latest",
            "test",
        )
        assert (line["count_fakes"], line["count_reals"], line["resolution"]) == (4, 4, [32, 32])
        assert line["weights"] == sha256(f"checkpoints/h2z/latest_net_{network}.pth")
        assert (line["experiment"], line["model"], line["seed"]) == ("h2z", "cycle_gan", 3)
        assert (line["student_steps"], line["teacher_steps"], line["train_seconds"]) == (18, None, 9.5)
        assert "dropout off" in line["network_mode"]
        assert found[network, "bytes"]["value"] == Path(f"checkpoints/h2z/latest_net_{network}.pth").stat().st_size
        assert found[network, "ksd"]["spread"] > 0 and found[network, "ksd"]["value"] != line["value"]
        assert found[network, "bytes"]["split"] is None
    assert (
        found["G_A", "l1"]["value"] != found["G_B", "l1"]["value"] and "pairs by name" in found["G_A", "l1"]["protocol"]
    )
    assert "network mode: train, as upstream tests" in out and "FSD on 4 images is biased upwards" in out
    rows = [line.split()[:5] for line in out.splitlines()]
    assert ["G_B", "last", "BtoA", "parameters", f"{found['G_B', 'parameters']['value']:,}"] in rows


def test_the_numbers_are_those_of_the_images_that_test_py_writes(here: Path, judge: Evaluate) -> None:
    """A run's numbers equal those of test.py's folder, whose fakes and reals lie side by side."""
    judge("--name facades --metrics l1,ssim,ksd --features squeezenet.pth --eval")
    applied = "--dataroot paired --name facades --model pix2pix --gpu_ids -1 --crop_size 32 --eval"
    test.main([*applied.split()])
    images = "results/facades/test_latest/images"
    endings = f"--fakes {images} --reals {images} --fakes_ending _fake_B.png --reals_ending _real_B.png"
    judge(f"{endings} --metrics l1,ssim,ksd --features squeezenet.pth")
    run, folders = lines("checkpoints/facades/metrics.jsonl"), lines("results/metrics.jsonl")
    assert [line["value"] for line in run] == pytest.approx([line["value"] for line in folders], rel=1e-6)
    assert {line["direction"] for line in run} == {"BtoA"} and "eval" in run[0]["network_mode"]
    assert {line["split"] for line in folders} == {"folder"} and folders[0]["weights"] == run[0]["weights"]


def test_a_folder_of_translations_says_which_network_made_it(here: Path, judge: Evaluate) -> None:
    applied = "--name small --gpu_ids -1 --dataroot unpaired/testA --crop_size 32"
    test.main(applied.split())
    test.main(f"{applied} --model_suffix _teacher_A --results_dir teacher".split())
    folders = "--fakes {}/small/test_latest/images --fakes_ending _fake.png --reals unpaired/testB --reals_ending .png"
    judge(f"{folders.format('results')} --metrics l1")
    judge(f"{folders.format('teacher')} --metrics l1")
    student, teacher = lines("results/metrics.jsonl")
    for line, name, file in ((student, "G", "G"), (teacher, "G_teacher", "G_teacher_A")):
        assert (line["experiment"], line["model"], line["network"], line["variant"]) == ("small", "crd", name, "last")
        assert line["weights"] == sha256(f"checkpoints/small/latest_net_{file}.pth")
        assert (line["epoch"], line["direction"], line["seed"], line["split"]) == ("latest", "AtoB", 3, "folder")
        assert (line["student_steps"], line["teacher_steps"], line["train_seconds"]) == (9, 9, 9.5)
        assert line["network_mode"].startswith("train, as upstream tests")
    shutil.copy("checkpoints/small/latest_net_G_teacher_A.pth", "checkpoints/small/latest_net_G.pth")  # trained on
    judge(f"{folders.format('results')} --metrics l1")
    later = lines("results/metrics.jsonl")[-1]
    assert later["weights"] == student["weights"] and later["student_steps"] is None


def test_each_direction_of_a_folder_is_anothers(here: Path, judge: Evaluate) -> None:
    applied = "--name h2z --model cycle_gan --gpu_ids -1 --dataroot unpaired --crop_size 32"
    test.main(applied.split())
    images = "results/h2z/test_latest/images"
    for label in "AB":
        endings = f"--fakes_ending _fake_{label}.png --reals_ending _real_{label}.png --pair_by order"
        judge(f"--fakes {images} --reals {images} {endings} --metrics l1")
    found = {line["network"]: (line["direction"], line["weights"]) for line in lines("results/metrics.jsonl")}
    files = {name: sha256(f"checkpoints/h2z/latest_net_{name}.pth") for name in ("G_A", "G_B")}
    assert found == {"G_A": ("AtoB", files["G_A"]), "G_B": ("BtoA", files["G_B"])}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"_fake.png": 3}', '{"_fake.png": {"experiment": 3}}', "\0"])
def test_what_says_nothing_about_a_folder_is_passed_over(judge: Evaluate, text: str) -> None:
    shutil.copytree("unpaired/testA", "page/images")
    for path in Path("page/images").iterdir():
        path.rename(path.with_name(f"{path.stem}_fake.png"))
    Path("page/made_by.json").write_text(text)
    judge("--fakes page/images --fakes_ending _fake.png --reals unpaired/testB --reals_ending .png --metrics l1")
    assert lines("results/metrics.jsonl")[0]["network"] is None


def test_dropout_is_drawn_from_the_runs_seed(judge: Evaluate) -> None:
    for _ in range(2):
        judge("--name facades --metrics psnr")
    judge("--name facades --metrics psnr --seed 4")
    same, again, other = (line["value"] for line in lines("checkpoints/facades/metrics.jsonl"))
    assert same == again != other


def test_a_student_its_average_and_its_teacher(here: Path, judge: Evaluate, refused: Evaluate) -> None:
    network = define_G(3, 3, 2, "resnet_6blocks", "instance")
    save_checkpoint(network.state_dict(), "checkpoints/small/latest_net_G_ema.pth")
    shutil.copy("checkpoints/small/latest_net_G.pth", "checkpoints/small/best_net_G.pth")
    judge("--name small --networks student,ema,teacher --metrics ksd --features squeezenet.pth --save_images")
    judge(
        "--name small --metrics ksd --features squeezenet.pth --epoch best --protocol train+test --lines numbers.jsonl"
    )
    found = lines("checkpoints/small/metrics.jsonl")
    assert [(line["network"], line["variant"]) for line in found] == [
        ("G", "last"),
        ("G", "ema"),
        ("G_teacher", "last"),
    ]
    assert len({line["value"] for line in found}) == 3
    assert found[2]["weights"] == sha256("checkpoints/small/latest_net_G_teacher_A.pth")
    assert (found[0]["student_steps"], found[0]["teacher_steps"]) == (9, 9)  # 3 passes of 3 steps each
    assert len(list(Path("results/small/evaluate_latest/G_ema").glob("*.png"))) == 4
    (best,) = lines("numbers.jsonl")
    assert (best["variant"], best["epoch"], best["split"], best["count_reals"]) == ("best", "best", "train+test", 7)
    assert best["student_steps"] is None
    assert "G_C: this run has G;" in refused("--name small --networks G_C")
    assert "1_net_G.pth does not exist" in refused("--name small --epoch 1 --metrics complexity")


def test_what_a_network_costs_needs_no_data(here: Path, judge: Evaluate) -> None:
    shutil.rmtree("unpaired")
    judge("--name h2z --metrics latency,complexity --networks G_B --latency_repeats 1")
    found = {line["metric"]: line for line in lines("checkpoints/h2z/metrics.jsonl")}
    assert found["macs_true"]["resolution"] == [32, 32] and found["macs_true"]["network"] == "G_B"


def test_a_downloaded_generator(here: Path, judge: Evaluate) -> None:
    Path("checkpoints/downloaded").mkdir()
    shutil.copy("checkpoints/h2z/latest_net_G_A.pth", "checkpoints/downloaded/latest_net_G.pth")
    flags = "--netG resnet_6blocks --ngf 2 --norm instance --no_dropout --crop_size 32 --num_test 3"
    out = judge(f"--name downloaded --dataroot unpaired {flags} --metrics l1")
    assert "--dataset_mode unaligned, by the folders in unpaired" in out
    (line,) = lines("checkpoints/downloaded/metrics.jsonl")
    assert (line["network"], line["count_fakes"], line["model"]) == ("G", 3, "test")


def test_a_metric_of_ones_own(judge: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that docs/plugins.md shows."""
    page = (ROOT / "docs" / "plugins.md").read_text()
    blocks = [block.split("```")[0] for block in page.split("```python\n")[1:]]
    code = next(block for block in blocks if "register_metrics" in block)
    plugin: dict = {"__name__": "brightness"}
    exec(code, plugin)
    manager = plugin_manager()
    monkeypatch.setattr(manager, "registrations", list(manager.registrations))
    plugin["register_metrics"](manager._register_for("metrics", "brightness.py", ""))
    Path("white").mkdir()
    Path("grey").mkdir()
    for number in range(2):
        Image.new("RGB", (8, 8), (255,) * 3).save(f"white/{number}.png")
        Image.new("RGB", (8, 8), (51,) * 3).save(f"grey/{number}.png")
    judge("--fakes white --reals grey --metrics brightness --name h2z")
    (line,) = lines("checkpoints/h2z/metrics.jsonl")
    assert line["value"] == pytest.approx(0.8) and line["experiment"] == "h2z"


def test_statistics_are_of_one_domain(here: Path, judge: Evaluate, refused: Evaluate) -> None:
    flags = "--name h2z --metrics fid --features squeezenet.pth --save_real_stats zebras.npz"
    assert "--networks G_A" in refused(flags)
    judge(f"{flags} --networks G_A")
    judge("--name h2z --metrics fid --features squeezenet.pth --networks G_A --real_stats zebras.npz")
    found = lines("checkpoints/h2z/metrics.jsonl")
    assert [line["metric"] for line in found] == ["fsd", "ksd", "fsd"]
    assert found[0]["value"] == pytest.approx(found[2]["value"], rel=1e-6)
    with np.load("zebras.npz") as file:
        assert file["mu"].shape == (512,) and file["sigma"].shape == (512, 512)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("", "--name, a run in checkpoints_dir, or --fakes DIR --reals DIR"),
        ("--name h2y --dataroot unpaired --dataset_mode unaligned", "h2y"),
        ("--name h2z --metrics fud", "there is no metric 'fud'; did you mean fsd or fid?"),
        ("--name h2z --metrics ,", "--metrics names none; known: fid, kid"),
        ("--name h2z --metrics miou", "none is registered"),
        ("--name h2z --metrics l1 --reals unpaired/testB", "--reals belongs to --fakes"),
        ("--name h2z --size 64", "--size is about two folders"),
        ("--fakes unpaired/testA --reals_are truths --metrics l1", "type --fakes and --reals, too"),
        ("--fakes nowhere --reals unpaired/testB", "--fakes nowhere is no folder"),
        (
            "--fakes unpaired/testA --fakes_ending _fake.png",
            "holds no image whose name ends in _fake.png; it holds 4 images",
        ),
        ("--fakes unpaired/testA --metrics ksd --features squeezenet.pth", "name their folder with --reals"),
        ("--fakes unpaired/testA --reals unpaired/trainA --metrics l1", "has 4 images and unpaired/trainA has 3"),
        ("--fakes unpaired/testA --reals unpaired/testB --metrics complexity", "two folders have none"),
        ("--fakes unpaired/testA --reals paired/test --metrics l1", "has 4 images and paired/test has 3"),
        ("--name h2z --features nowhere.pth", "nowhere.pth does not exist"),
        ("--name small --networks teacher --epoch 7", "holds neither 7_net_G_teacher_A.pth nor"),
        (
            "--fakes unpaired/testA --reals unpaired/testB --size 16 --metrics fid --features squeezenet.pth",
            "images of 16x16, their sides have to be 17 pixels or more; --size N resizes all images of two folders",
        ),
        ("--name h2z --crop_size 16 --metrics ksd --features squeezenet.pth", "and --crop_size N those of a run"),
    ],
)
def test_mistakes_are_answered_with_a_sentence(refused: Evaluate, flags: str, words: str) -> None:
    assert words in refused(flags)
    assert not list(Path("checkpoints").glob("*/metrics.jsonl"))


def test_the_smallest_images_that_squeezenet_sees(judge: Evaluate) -> None:
    """What the error for smaller ones tells to type is enough."""
    judge("--fakes unpaired/testA --reals unpaired/testB --size 17 --metrics fid --features squeezenet.pth")
    judge("--name h2z --crop_size 20 --networks G_A --metrics ksd --features squeezenet.pth")
    sizes = [lines(path)[0]["resolution"] for path in ("results/metrics.jsonl", "checkpoints/h2z/metrics.jsonl")]
    assert sizes == [[17, 17], [20, 20]]


def test_only_what_was_made_of_label_maps_has_a_miou(
    judge: Evaluate, refused: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = plugin_manager()
    monkeypatch.setattr(manager, "registrations", list(manager.registrations))
    road = manager._register_for("metrics", "roads.py", "")
    road("roads", lambda batch: torch.zeros(len(batch), *batch.shape[2:], dtype=torch.int64), role="segmenter")
    for number, path in enumerate(sorted(Path("unpaired/testA").iterdir())):
        Image.new("RGB", (32, 32), (128, 64, 128)).save(path)  # all road
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(f"unpaired/testB/{path.name}")
    out = judge("--name h2z --metrics miou")
    assert {(line["network"], line["value"]) for line in lines("checkpoints/h2z/metrics.jsonl")} == {("G_A", 1.0)}
    assert "note: no miou of the images of G_B (last): they were made of unpaired (test, B)" in out
    assert "--metrics miou found nothing to measure" in refused("--name h2z --metrics miou --networks G_B")


def test_pairs_need_the_same_names_or_an_order(here: Path, judge: Evaluate, refused: Evaluate) -> None:
    for number, path in enumerate(sorted(Path("unpaired/testB").iterdir())):
        path.rename(path.with_name(f"zebra{number}.png"))
    flags = "--fakes unpaired/testA --reals unpaired/testB --metrics l1"
    assert "e.g. 00000 and zebra0" in refused(flags)
    judge(f"{flags} --pair_by order --size 16")
    (line,) = lines("results/metrics.jsonl")
    assert "pairs by order" in line["protocol"] and line["resolution"] == [16, 16]


def test_as_a_command(here: Path) -> None:
    command = [sys.executable, str(ROOT / "evaluate.py"), *["--gpu_ids", "-1", "--name", "h2z", "--metrics", "l1"]]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    assert lines("checkpoints/h2z/metrics.jsonl")[0]["command"] == "evaluate.py --gpu_ids -1 --name h2z --metrics l1"
    assert torch.__version__ in Path("checkpoints/h2z/metrics.jsonl").read_text()
