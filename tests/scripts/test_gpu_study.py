"""The GPU study's plan: what the script's flags make of it, and a tiny run on the CPU from nothing to its report."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import pytest
import torch

import evaluate
import test as test_program
import train
from comparison import engine
from comparison.plan import make_plan, read_plan
from comparison.runs import runs_of
from scripts import gpu_study
from util.provenance import read_lines

PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "train.py": train.main,
    "evaluate.py": evaluate.main,
    "test.py": test_program.main,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write random weights of SqueezeNet's features and of LPIPS's linear layers, in the published files' shapes."""
    import torchvision

    folder = tmp_path_factory.mktemp("my weights")  # a space, as folders have
    with torch.random.fork_rng():
        torch.manual_seed(0)
        features = torchvision.models.squeezenet1_1(weights=None).features.state_dict()
        channels = (64, 128, 256, 384, 384, 512, 512)
        linear = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1) for i, width in enumerate(channels)}
    files = {"weights": folder / "squeezenet.pth", "lpips_weights": folder / "lpips.pth"}
    torch.save(features, files["weights"])
    torch.save(linear, files["lpips_weights"])
    return files


def words(toy: Mapping[str, Path], weights: Mapping[str, Path], root: Path) -> list[str]:
    """Return the script's flags for a trial on the toy set."""
    flags = {"device": "cpu", "dataroot": toy["cycle_gan"], "checkpoints_dir": root / "runs", "out": root / "out"}
    return ["--tiny", "--epochs", "1", *(word for k, v in (flags | weights).items() for word in (f"--{k}", str(v)))]


def test_the_plan_is_what_the_issue_asks_for() -> None:
    plan = read_plan(gpu_study.PLAN)
    assert [run.row for run in runs_of(plan)] == ["teacher", "student alone", "reko", "portable", "dcd", "crd"]
    assert {"--compile", "bf16", "128"} <= set(plan.flags) and plan.teacher.budget == plan.budget


def test_flags_go_into_the_plan_and_its_text_reads_back(weights: dict[str, Path], tmp_path: Path, monkeypatch) -> None:
    made: list[list[str]] = []
    monkeypatch.setattr(gpu_study.compare, "main", made.append)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    data = {"cycle_gan": Path('a "quoted" \\ folder')}
    gpu_study.main([*words(data, weights, tmp_path), "--minutes", "9"])
    path = Path(made[0][0])
    assert made[0][1:] == ["--minutes", "9.0", "--out", str(tmp_path / "out")]
    plan = read_plan(path)
    assert plan.name == "gpu_study_tiny" and plan.data == str(data["cycle_gan"]) and plan.widths == (2,)
    assert plan.evaluate == (("--features", str(weights["weights"])),)
    assert plan.to_teacher[-4:] == (
        "--lpips_backbone", str(weights["weights"]), "--lpips_weights", str(weights["lpips_weights"]),
    )  # fmt: skip
    assert "--compile" not in plan.flags and plan.budget.epochs == plan.teacher.budget.epochs == 1
    for method in plan.methods:
        assert (str(weights["weights"]) in method.flags) == (method.name in ("dcd", "crd")), method.name
    gpu_study.main([word for word in words(data, weights, tmp_path) if word != "--tiny"])
    assert "--compile" in read_plan(made[1][0]).flags
    gpu_study.main(["--no_compile", *(word for word in words(data, weights, tmp_path) if word != "--tiny")])
    assert "--compile" not in read_plan(made[2][0]).flags and read_plan(made[2][0]).widths == (16,)
    original = tomllib.loads(gpu_study.PLAN.read_text())
    assert make_plan(tomllib.loads(gpu_study.as_toml(original)), "gpu_study") == read_plan(gpu_study.PLAN)


def test_a_trial_from_nothing_to_its_report(
    toy: dict[str, Path], weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def execute(words: list[str], environment: Mapping[str, str], log: IO[str], stop_at: float) -> int:
        calls.append(words[0])
        monkeypatch.setattr(sys, "argv", words)
        PROGRAMS[words[0]](words[1:])
        return 0

    monkeypatch.setattr(engine, "execute", execute)
    monkeypatch.setattr("util.run.WARM_UP", 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    gpu_study.main(words(toy, weights, tmp_path))
    assert calls.count("train.py") == 6
    lines = read_lines(tmp_path / "out/lines.jsonl")
    found: dict[str, set[str]] = {}
    for line in lines:
        found.setdefault(line["row"], set()).add(line["metric"])
    assert all({"fsd", "ksd"} <= metrics for metrics in found.values())
    assert {row for row, metrics in found.items() if "lpips" in metrics} == found.keys() - {"teacher"}
    lpips = {line["row"]: line for line in lines if line["metric"] == "lpips"}
    assert lpips["crd"]["protocol"].endswith("reals are the translations of its own online teacher")
    assert lpips["student alone"]["protocol"].endswith("reals are the pre-trained teacher's translations")
    assert "gpu_study_tiny_teacher_ngf4_seed0" in lpips["reko"]["command"] and lpips["reko"]["value"] > 0
    runs: dict[str, dict[str, Any]] = {run["row"]: run for run in read_lines(tmp_path / "out/runs.jsonl")}
    assert all(run["steps_per_second"] > 0 and run["memory_process"] > 2**20 for run in runs.values())
    assert {run["student_steps"] for run in runs.values()} == {3}  # 6 images, batch 2
    report = (tmp_path / "out/README.md").read_text()
    assert "## lpips to the pre-trained teacher's translations, AtoB (lower is better)" in report
    assert "one of dcd and crd trains a teacher, too" in report and "unfinished" not in report
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("data:image/png") == 2 * (1 + 1 + 2 + 5)  # input, teacher, two online teachers, five students
    count = len(calls)
    gpu_study.main(words(toy, weights, tmp_path))
    assert len(calls) == count


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["--weights", "nowhere.pth"], "--weights nowhere.pth is no file"),
        ([], "no GPU can be used here; --device cpu --tiny"),
    ],
)
def test_mistakes_are_sentences(typed: list[str], sentence: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu_study.main(typed)
    assert ended.value.code == 2 and sentence in capsys.readouterr().err
