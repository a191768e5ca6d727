"""The benchmark compares two ways to the same number."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import torch

from scripts.benchmark import means
from scripts.benchmark.__main__ import main


def test_relation_rows_agree_with_float64_and_are_written(tmp_path: Path, capsys) -> None:
    out = tmp_path / "lines.jsonl"
    main(["relation", "--out", str(out), "--repeats", "1", "--elements", "24", "--dims", "30"])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["variant"] for row in rows] == ["gram", "direct"]
    assert all(row["value_error"] < 1e-5 and row["gradient_error"] < 1e-5 for row in rows)
    assert {"commit", "command", "torch", "seconds", "extra_memory_MB"} <= rows[0].keys()
    assert "speedup" in capsys.readouterr().out


def test_step_rows_have_both_variants_and_say_what_was_run(tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    flags = "--netG resnet_6blocks --ngf 2 --ndf 4"
    sizes = ["--size", "32", "--repeats", "1", "--net_flags", flags]
    main(["step", "--model", "cycle_gan", *sizes, "--flags", "--amp bf16", "--out", str(out)])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["variant"] for row in rows] == ["default", "plain", "default with --flags"]
    assert [row["flags"] for row in rows] == [flags, flags, f"{flags} --amp bf16"]
    assert rows[0]["gigaflops"] == rows[1]["gigaflops"] > 0 and rows[0]["gigabytes"] > 0  # Adam has no flops that count
    assert rows[1]["speedup"] == 1 and all(row["seconds"] > 0 and row["extra_memory_MB"] > 0 for row in rows)
    assert {"commit", "command", "machine", "part", "flags"} <= rows[0].keys()


def test_loop_rows_add_up(tmp_path: Path, capsys) -> None:
    out = tmp_path / "lines.jsonl"
    flags = "--netG resnet_6blocks --ngf 2 --ndf 4"
    main(["loop", "--size", "32", "--repeats", "1", "--net_flags", flags, "--out", str(out)])
    rows = {row["duty"]: row for row in map(json.loads, out.read_text().splitlines())}
    looking = [rows[duty] for duty in ("every step", "numbers", "pictures", "page")]
    assert [row["every_images"] for row in looking] == [1, 100, 400, 1000] and rows["saving"]["every_images"] == 5000
    assert abs(sum(row["percent"] for row in looking) - rows["all but saving"]["percent"]) < 1e-9
    for row in looking:  # from the seconds of one call to the share of a step
        expected = 100 * row["seconds"] / row["every_images"] / rows["step"]["seconds"]
        assert abs(row["percent"] - expected) < 1e-9 * max(1, expected)


def test_means_rows_say_what_was_tried_on_what_and_whether_the_result_stays(tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    exact = ["Adam(fused=True)", "real and generated image in one pass of D", "channels last", "bfloat16"]
    main(
        [
            "means",
            "--means",
            ",".join(exact),
            "--size",
            "32",
            "--networks",
            "PatchGAN",
            "--repeats",
            "1",
            "--out",
            str(out),
        ]
    )
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["means"] for row in rows] == exact
    assert [row["kept"] for row in rows] == ["yes", "no", "no", "--amp bf16"]
    assert all(row["speedup"] == row["before_ms"] / row["after_ms"] for row in rows)
    assert all(row["difference"] < 1e-4 for row in rows[:3]) and 1e-4 < rows[3]["difference"] < 0.2


def test_means_that_do_not_exist_are_a_sentence(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["means", "--means", "magic"])
    assert ended.value.code == 2 and "'magic' is none of Adam(fused=True), " in capsys.readouterr().err


def test_the_gradients_of_the_means_are_those_of_the_plain_way() -> None:
    at = means.At(32, "cpu")
    for case in (*means.one_pass_of_vgg(at), *means.one_pass_of(("mobile_resnet_9blocks ngf 16",), at)):
        torch.testing.assert_close(case.after(), case.before(), rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(case.before(), case.before())  # nothing is left over from the time before


def test_compiled_networks_are_timed_where_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    at = means.At(32, "cpu")
    monkeypatch.setattr("scripts.benchmark.means.shutil.which", lambda name: None)
    assert list(means.compiled(at)) == [] and "there is no C++ compiler" in capsys.readouterr().out
    monkeypatch.setattr("scripts.benchmark.means.shutil.which", lambda name: name if name == "clang++" else None)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    case = next(means.compiled(at))
    torch.testing.assert_close(case.after(), case.before(), rtol=1e-4, atol=1e-7)
    torch._dynamo.reset()


def test_image_rows_are_parts_of_one_image(tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    main(["image", "--images", "3", "--load_size", "40", "--crop_size", "32", "--repeats", "1", "--out", str(out)])
    rows = {row["part"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert rows["resize, bicubic"]["images"] == 3 and all(row["microseconds"] > 0 for row in rows.values())
