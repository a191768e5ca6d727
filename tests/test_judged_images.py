"""What chooses a checkpoint is never what judges it: train.py's held-out images against those that evaluate.py looks at."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evaluate
import train
from data import create_dataset, held_out_dataset
from models import create_model
from options.base_options import save_options
from options.train_options import TrainOptions
from util.backbones import backbone_layers
from util.checkpoint import save_checkpoint
from util.metrics.evidence import Evidence
from util.provenance import read_lines

TINY = "--gpu_ids -1 --display_id 0 --load_size 32 --crop_size 32 --netG resnet_6blocks --ngf 2 --ndf 2 --seed 3"
LAYOUTS = {
    ("train",): ("train", None),
    ("train", "test"): ("train", "test"),
    ("train", "val"): ("train", "val"),
    ("train", "val", "test"): ("val", "test"),
}
MODELS = {"cycle_gan": ("ksd", "A", "B"), "pix2pix": ("l1", "")}  # a metric, and the folders of a phase
Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Return what makes data of some phases and begins a run on it as train.py does; every image has a name of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    layers = backbone_layers("squeezenet", "random").state_dict()
    save_checkpoint({f"features.{key}": value for key, value in layers.items()}, Path("squeezenet.pth"))

    def begin(model: str, *phases: str, flags: str = "--eval_freq 1") -> Any:
        numbers = itertools.count()
        for phase, side in itertools.product(phases, MODELS.get(model, MODELS["cycle_gan"])[1:]):
            Path("data", phase + side).mkdir(parents=True)
            for _ in range(5):
                number = next(numbers)
                pixels = np.random.default_rng(number).integers(0, 256, (32, 32 if side else 64, 3), np.uint8)
                Image.fromarray(pixels).save(f"data/{phase}{side}/{phase}{number:03}.png")
        opt = TrainOptions().parse(f"--dataroot data --name run --model {model} {TINY} {flags}".split())
        train.plan_evaluation(opt)
        return keep(opt)

    return begin


def keep(opt: Any) -> Any:
    """Leave a run as training does: its options and its networks."""
    model = create_model(opt)
    model.setup(opt)
    save_options(opt)
    for name in ("latest", "best"):
        model.save_networks(name)
    return opt


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Any]:
    """Return what evaluates the run: the stems of all images that were looked at, the lines, and what was printed."""
    looked: set[str] = set()
    measure = evaluate.measure

    def spy(evidence: Evidence, *rest: Any) -> Any:
        for images in (evidence.fakes, evidence.reals, evidence.sources, evidence.truths):
            looked.update(images.names if images else ())
        return measure(evidence, *rest)

    monkeypatch.setattr(evaluate, "measure", spy)

    def run(flags: str) -> tuple[set[str], list[dict], str]:
        looked.clear()
        capsys.readouterr()
        evaluate.main(f"--gpu_ids -1 --name run --features squeezenet.pth {flags}".split())
        path = Path("checkpoints/run/metrics.jsonl")
        lines = read_lines(path)
        path.unlink()
        return set(looked), lines, capsys.readouterr().out

    return run


def stems(dataset: Any) -> set[str]:
    """Return the names of all images of a loader's data."""
    return {Path(path).stem for folder in dataset.dataset.folders for path in folder.paths}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("phases", LAYOUTS, ids="+".join)
def test_held_out_trained_and_judged_images_never_overlap(
    start: Start, judge: Callable[[str], Any], capsys: pytest.CaptureFixture[str], model: str, phases: tuple[str, ...]
) -> None:
    source, judged_phase = LAYOUTS[phases]
    opt = start(model, *phases)
    said = capsys.readouterr().out
    assert ("val is the test set where there is no test folder" in said) == (phases == ("train", "val"))
    trained, held_out = stems(create_dataset(opt)), stems(held_out_dataset(opt))
    assert opt.held_out_from == source and len(held_out) >= 2 and not trained & held_out
    metric = MODELS[model][0]
    if judged_phase is None:
        with pytest.raises(SystemExit):
            judge(f"--metrics {metric}")
        assert "--phase train" in capsys.readouterr().err
        return
    for epoch in ("latest", "best"):
        looked, lines, _ = judge(f"--metrics {metric} --epoch {epoch}")
        assert len(looked) == 5 * len(MODELS[model][1:])
        assert {name.rstrip("0123456789") for name in looked} == {judged_phase}
        assert not looked & (trained | held_out)
        assert {line["split"] for line in lines} == {judged_phase}


def test_a_split_is_what_it_is_called(start: Start, judge: Callable[[str], Any]) -> None:
    """Distances between sets carry the split of their reals, in words too; pairs that of the fakes."""
    start("cycle_gan", "train", "val", "test", flags="")  # nothing was held out
    for phase in ("test", "val", "train"):
        _, lines, out = judge(f"--metrics ksd --phase {phase}")
        assert {line["split"] for line in lines} == {phase}
        assert all(f", reals {phase}" in line["protocol"] for line in lines)
        assert ("the run was trained on these images" in out) == (phase == "train")
    _, lines, _ = judge("--metrics ksd --phase val --protocol train+test")
    assert {(line["split"], line["count_fakes"], line["count_reals"]) for line in lines} == {("train+val", 5, 10)}


def test_training_images_are_not_added_to_themselves(
    start: Start, judge: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    start("cycle_gan", "train", "test")
    with pytest.raises(SystemExit):
        judge("--metrics ksd --phase train --protocol train+test")
    assert "--protocol train+test adds the training images" in capsys.readouterr().err


def test_asking_for_the_images_that_chose_the_best_is_said_and_labelled(
    start: Start, judge: Callable[[str], Any]
) -> None:
    start("pix2pix", "train", "val", "test")
    _, lines, out = judge("--metrics l1 --phase val")
    assert {line["split"] for line in lines} == {"held_out"}
    assert "warning: the run chose its best on these images (--phase val)" in out
    _, lines, out = judge("--metrics l1")
    assert {line["split"] for line in lines} == {"test"} and "warning" not in out


def saved_as(**changed: Any) -> None:
    """Change what the run's options say, as an older version wrote them."""
    path = Path("checkpoints/run/train_opt.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_a_run_that_held_out_val_when_there_was_no_test_set_stays_honest(
    start: Start, judge: Callable[[str], Any]
) -> None:
    start("pix2pix", "train", "val")
    saved_as(held_out_from="val")
    resumed = TrainOptions().parse(["--continue_train", "--name", "run", "--eval_freq", "1", "--n_epochs", "3"])
    train.plan_evaluation(resumed)
    assert resumed.held_out_from == "val" and len(stems(create_dataset(resumed))) == 5  # as it was begun
    _, lines, out = judge("--metrics l1 --epoch best")
    assert {line["split"] for line in lines} == {"held_out"}
    assert "warning: the run chose its best on these images (--phase val)" in out


def test_other_data_with_a_val_folder_is_not_the_runs(start: Start, judge: Callable[[str], Any]) -> None:
    start("pix2pix", "train", "val", "test")
    Path("data").rename("others")
    _, lines, out = judge("--metrics l1 --phase val --dataroot others")
    assert {line["split"] for line in lines} == {"val"} and "warning" not in out


@pytest.mark.parametrize("phases", [("train", "val"), ("train", "test")], ids="+".join)
def test_the_papers_protocol_says_that_the_judged_images_chose(
    start: Start, judge: Callable[[str], Any], capsys: pytest.CaptureFixture[str], phases: tuple[str, str]
) -> None:
    opt = start("pix2pix", *phases, flags="--eval_freq 1 --protocol paper")
    assert "evaluation on the TEST set" in capsys.readouterr().out
    assert opt.held_out_from == phases[1] and len(stems(held_out_dataset(opt))) == 5
    for epoch in ("latest", "best"):
        _, lines, out = judge(f"--metrics l1,complexity --epoch {epoch}")
        assert {line["split"] for line in lines} == {phases[1], None}
        assert f"warning: the run chose its best on these images (--phase {phases[1]})" in out
        for line in lines:  # what a network costs is about no images
            assert line["protocol"].endswith(", chosen on these images (--protocol paper)") == (line["metric"] == "l1")


@pytest.mark.parametrize(
    ("flags", "judged"),
    [
        ("--eval_freq 1 --protocol paper --best_metric none", ""),  # looked at, and nothing chosen
        ("--eval_freq 1 --protocol paper", "--phase val"),  # other images than those that chose
        ("--eval_freq 1", ""),
        ("--protocol paper", ""),  # never evaluated
    ],
)
def test_images_that_chose_nothing_are_not_said_to_have_chosen(
    start: Start, judge: Callable[[str], Any], flags: str, judged: str
) -> None:
    start("pix2pix", "train", "val", "test", flags=flags)
    _, lines, out = judge(f"--metrics l1 {judged}")
    assert len(lines) == 1 and "chosen on" not in lines[0]["protocol"] and "warning" not in out


def test_an_interleaved_teacher_is_chosen_too(start: Start, judge: Callable[[str], Any]) -> None:
    """Without --eval_freq no best is kept, but the student learned from the teacher that the test images chose."""
    crd = "--teacher_ngf 2 --patch_size 8 --lambda_perceptual 0 --ksd_weights squeezenet.pth --schedule interleaved"
    start("crd", "train", "test", flags=f"{crd} --protocol paper --base cycle_gan")
    _, lines, out = judge("--metrics ksd --networks student,teacher --protocol train+test")
    assert len(lines) == 2 and all("chosen on these images (--protocol paper)" in line["protocol"] for line in lines)
    assert "warning: the run chose its best" in out
