"""A student of images that were made beforehand, and masks on their way to the objectives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps

import train
from data import create_dataset
from util.errors import UserError

Build = Callable[..., Any]
BASES = ("cycle_gan", "pix2pix")


def source_images(root: Path, base: str, direction: str) -> dict[str, Image.Image]:
    """Return the images of a toy set that are translated, by the names of their files."""
    folder = root / ("train" if base == "pix2pix" else f"train{direction[0]}")
    images = {file.name: Image.open(file).convert("RGB") for file in folder.iterdir()}
    if base == "cycle_gan":
        return images
    left = 0 if direction == "AtoB" else 32
    return {name: image.crop((left, 0, left + 32, 32)) for name, image in images.items()}


@pytest.fixture
def negatives(toy: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Return what makes a folder of translations: the negatives of the source images."""

    def make(base: str, direction: str = "AtoB") -> Path:
        folder = tmp_path / f"negatives_{base}_{direction}"
        folder.mkdir()
        for name, image in source_images(toy[base], base, direction).items():
            ImageOps.invert(image).save(folder / name)
        return folder

    return make


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("base", BASES)
def test_the_student_learns_from_the_translation_of_its_own_input(
    plain: Build, negatives: Callable[..., Path], base: str, direction: str
) -> None:
    folder = negatives(base, direction)
    model = plain(base, teacher=None, teacher_images=folder, direction=direction, load_size=40, batch_size=3)
    (one,) = model.distilled  # of two directions, the first
    model.set_input(next(iter(create_dataset(model.opt))))
    model.optimize_parameters()
    student, teacher = one.objectives[0].seen
    torch.testing.assert_close(teacher.image, -student.source, rtol=0, atol=0.02)
    names = one.direction
    assert (names.source, names.image) == ("real_A", "fake_B") and teacher.discriminator is None
    assert torch.equal(student.source, model.student.real_A)
    suffix = names.netG[1:]
    expected = 2 * (model.student.fake_B + model.student.real_A).abs().mean()
    assert model.current_losses()[f"G_pixels{suffix}"].item() == pytest.approx(expected.item(), abs=0.02)
    assert list(model.get_current_visuals())[1:3] == ["fake_B", "teacher_fake_B"]
    assert torch.equal(model.get_current_visuals()["teacher_fake_B"], teacher.image)


def test_what_is_taught_and_what_is_not_is_said(plain: Build, negatives: Callable[..., Path]) -> None:
    folder = negatives("cycle_gan")
    words = plain(teacher=None, teacher_images=folder).words
    assert f"teacher of G_A: the images in {folder}, without networks" in words
    assert "the teacher has no G_B: that direction learns alone" in words.splitlines()


def test_two_teachers_are_one_too_many(plain: Build, negatives: Callable[..., Path], teachers: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"--teacher .* and --teacher_images .* are two teachers; leave one out"):
        plain(teacher_images=negatives("cycle_gan"))


def test_without_any_teacher_both_ways_to_have_one_are_named(plain: Build) -> None:
    with pytest.raises(UserError, match=r"--teacher is missing: .*--teacher_images .*train\.py --model pix2pix"):
        plain("pix2pix", teacher=None)


@pytest.mark.parametrize(
    ("need", "words"), [("features", "features"), ("teacher_discriminator", "the teacher's discriminator")]
)
@pytest.mark.parametrize("base", BASES)
def test_what_needs_networks_is_told_that_there_are_none(
    plain: Build, negatives: Callable[..., Path], base: str, need: str, words: str
) -> None:
    adding = {"teacher": None, "teacher_images": negatives(base), "add_objectives": f"needs_{need}"}
    message = rf"^needs_{need} needs {words}; an images-only teacher has none\. --lambda_needy 0 leaves it out, and "
    with pytest.raises(UserError, match=message + r"--model (\w+ or )*plain( or \w+)* does without$") as error:
        plain(base, **adding)
    assert "judged" not in str(error.value) and "crd" not in str(error.value)
    assert len(plain(base, **adding, lambda_needy=0).distilled[0].objectives) == 1


def test_region_contrast_is_one_of_these(plain: Build, negatives: Callable[..., Path]) -> None:
    adding = {"teacher": None, "teacher_images": negatives("cycle_gan"), "add_objectives": "region_contrast"}
    with pytest.raises(UserError, match="region_contrast needs features; an images-only teacher has none"):
        plain(**adding)


def test_a_data_set_without_companions_is_refused(plain: Build, negatives: Callable[..., Path]) -> None:
    model = plain("pix2pix", teacher=None, teacher_images=negatives("pix2pix"), dataset_mode="template")
    batch = {side: torch.zeros(1, 3, 32, 32) for side in "AB"} | {"A_paths": ["x"], "B_paths": ["x"]}
    with pytest.raises(UserError, match="--teacher_images: --dataset_mode template hands over no such files"):
        model.set_input(batch)


@pytest.mark.parametrize("base", BASES)
def test_it_trains_stops_and_goes_on(
    methods: None, flags: Callable[..., list[str]], negatives: Callable[..., Path], base: str
) -> None:
    words = flags("plain", base, teacher_images=negatives(base), name="run", no_html=True, n_epochs_decay=0)
    at = words.index("--teacher")
    train.main([*words[:at], *words[at + 2 :], "--n_epochs", "1"])
    folder = Path(words[words.index("--checkpoints_dir") + 1])
    arguments = ["--continue_train", "--name", "run", "--checkpoints_dir", str(folder), "--n_epochs", "2"]
    train.main(arguments)
    assert (folder / "run" / "2_net_D.pth").is_file() or (folder / "run" / "2_net_D_A.pth").is_file()


# --- masks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", BASES)
def test_masks_come_to_each_direction_that_has_some(plain: Build, toy: dict[str, Path], base: str) -> None:
    model = plain(base, masks=toy[base] / "masks", load_size=40, batch_size=2)
    data = next(iter(create_dataset(model.opt)))
    model.set_input(data)
    model.optimize_parameters()
    assert len(model.distilled) == (2 if base == "cycle_gan" else 1)
    for one, side in zip(model.distilled, "AB", strict=False):
        student, teacher = one.objectives[0].seen
        assert torch.equal(student.mask, data[f"{side}_mask"]) and student.mask is teacher.mask
        assert 0 < student.mask.mean() < 1


def test_masks_of_one_side_are_the_sources(plain: Build, toy: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(toy["cycle_gan"] / "masks" / "trainB", tmp_path / "masks")
    model = plain(masks=tmp_path / "masks", direction="BtoA")
    data = next(iter(create_dataset(model.opt)))
    model.set_input(data)
    model.optimize_parameters()
    first, second = (one.objectives[0].seen[0] for one in model.distilled)
    assert torch.equal(first.mask, data["B_mask"]) and torch.equal(first.source, data["B"])
    assert second.mask is None


def test_an_online_student_has_masks_too(plain: Build, toy: dict[str, Path]) -> None:
    model = plain(method="crd", masks=toy["cycle_gan"] / "masks", schedule="joint", add_objectives="pixels")
    data = next(iter(create_dataset(model.opt)))
    model.set_input(data)
    model.optimize_parameters()
    pixels = next(objective for objective in model.objectives if hasattr(objective, "seen"))
    assert all(torch.equal(view.mask, data["A_mask"]) for view in pixels.seen)
