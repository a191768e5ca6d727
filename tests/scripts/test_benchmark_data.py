"""The benchmarks of loading, inference and scaling measure what they say, on small sizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.benchmark import inference, scaling
from scripts.benchmark.__main__ import main


def lines_of(tmp_path: Path, *words: str) -> list[dict]:
    out = tmp_path / "lines.jsonl"
    main([*words, "--repeats", "2", "--out", str(out)])
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_data_has_upstreams_pixels_however_it_reads(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    rows = lines_of(tmp_path, "data", "--images", "3", "--load_size", "40", "--crop_size", "32", "--batch_size", "2")
    names = ["upstream", "read anew", "ram, first pass", "ram, second pass", "ram, all kept"]
    assert [row["variant"] for row in rows] == names
    assert all(row["difference"] == 0 for row in rows)
    assert all(
        row["images"] == 6 and row["images_per_second"] == pytest.approx(1000 / row["ms_per_image"]) for row in rows
    )


def test_inference_relates_each_way_to_eager_and_to_the_teacher(tmp_path: Path) -> None:
    networks, variants = "resnet_6blocks:4,resnet_6blocks:2,unet_128:2", "eager,channels_last,bf16"
    flags = ("--networks", networks, "--variants", variants, "--threads", "1", "--size", "128")
    rows = lines_of(tmp_path, "inference", *flags)
    assert [(row["ngf"], row["variant"]) for row in rows[:4]] == [(4, v) for v in variants.split(",")] + [(2, "eager")]
    by_name = {(row["netG"], row["ngf"], row["variant"]): row for row in rows}
    wide, narrow = by_name["resnet_6blocks", 4, "bf16"], by_name["resnet_6blocks", 2, "bf16"]
    assert narrow["teacher_ratio"] == pytest.approx(wide["median_ms"] / narrow["median_ms"])
    assert wide["speedup"] == pytest.approx(by_name["resnet_6blocks", 4, "eager"]["median_ms"] / wide["median_ms"])
    for row in rows:
        assert row["p95_ms"] >= row["median_ms"]
        assert row["difference"] <= {"eager": 0, "channels_last": 1e-4, "bf16": 0.2}[row["variant"]]


def test_scaling_grows_against_its_first_value(tmp_path: Path) -> None:
    tiny = "--model cycle_gan --gpu_ids -1 --netG resnet_6blocks --ngf 2 --ndf 2"
    axes = ("--axes", "size,batch,elements,threads", "--size", "32,64", "--batch", "1,2", "--elements", "8,16")
    rows = lines_of(tmp_path, "scaling", "--flags", tiny, *axes, "--threads", "1", "--at", "32")
    assert [(row["axis"], row["value"]) for row in rows] == [
        *(("size", 32), ("size", 64), ("batch", 1), ("batch", 2), ("elements", 8), ("elements", 16), ("threads", 1))
    ]
    assert [row["ideal"] for row in rows] == [1, 4, 1, 2, 1, 8, 1]
    assert rows[1]["growth"] == pytest.approx(rows[1]["seconds"] / rows[0]["seconds"])
    assert rows[3]["per_image"] == pytest.approx(rows[3]["seconds"] / 2)


def test_a_step_of_scaling_trains() -> None:
    step, device = scaling.training_step("--model cycle_gan --gpu_ids -1 --ngf 2 --ndf 2", 32, 1)
    (model,) = [cell.cell_contents for cell in step.__closure__ if hasattr(cell.cell_contents, "netG_A")]
    before = [parameter.clone() for parameter in model.netG_A.parameters()]
    step()
    assert device == "cpu"
    assert any(not torch.equal(a, b) for a, b in zip(before, model.netG_A.parameters(), strict=True))
    assert model.real_A.shape == (1, 3, 32, 32)


def test_a_run_of_train_py_is_timed(tmp_path: Path) -> None:
    tiny = "--model cycle_gan --gpu_ids -1 --netG resnet_6blocks --ngf 2 --ndf 2"
    (row,) = lines_of(tmp_path, "scaling", "--axes", "processes", "--processes", "1", "--at", "32", "--flags", tiny)
    assert row["value"] == 1 and np.isfinite(row["seconds"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["inference", "--variants", "eager,int4"], "int4 is none of eager"),
        (["scaling", "--axes", "colour"], "colour is none of size"),
    ],
)
def test_unknown_names_are_refused(words, sentence, capsys) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert sentence in capsys.readouterr().err


def test_compiled_ways_are_left_out_without_a_compiler(monkeypatch, capsys) -> None:
    monkeypatch.setattr(inference.shutil, "which", lambda name: None)
    assert [name for name in inference.VARIANTS.split(",") if inference.runs_here(name)] == [
        "eager",
        "channels_last",
        "bf16",
    ]
    assert "no C++ compiler" in capsys.readouterr().out
