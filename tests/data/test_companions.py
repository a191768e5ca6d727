"""Masks and precomputed translations are found by name and cropped and flipped as their images are."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import data
from data.aligned_dataset import AlignedDataset
from data.unaligned_dataset import UnalignedDataset
from util.errors import UserError

Options = Callable[..., Namespace]
NAMES = ("0.png", "1.png", "sub/0.png")
MODES = {"unaligned": ("trainA", "trainB"), "aligned": ("train", "train")}  # the folders of the sides


def noise(size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def inside(image: np.ndarray) -> np.ndarray:
    """Return the mask that belongs to an image, which can be told from it: where its red is bright."""
    return np.where(image[..., 0] > 127, 255, 0).astype(np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make an unpaired and a paired set and companions of both sides: masks, and the negatives as translations."""
    for seed, name in enumerate(NAMES):
        add_images(tmp_path, name, seed)
    return tmp_path


def add_images(root: Path, name: str, seed: int) -> None:
    """Add an image of each side, and what belongs to it."""
    A, B = noise((24, 20), seed), noise((24, 20), 50 + seed)
    save(A, root / "trainA" / name)
    save(B, root / "trainB" / name)
    save(np.concatenate([A, B], 1), root / "train" / name)
    for side, image in (("A", A), ("B", B)):
        file = Path(name).with_suffix(".bmp")
        save(inside(image), root / f"masks{side}" / file)
        save(255 - image, root / f"negatives{side}" / file)


@pytest.fixture
def companions(root: Path, options: Options) -> Callable[..., Namespace]:
    """Return options that name the companions of the source side."""

    def make(mode: str = "unaligned", direction: str = "AtoB", **changed: object) -> Namespace:
        side = direction[0]
        folders = {"masks": str(root / f"masks{side}"), "teacher_images": str(root / f"negatives{side}")}
        base = {"dataset_mode": mode, "direction": direction, "any_pair_shape": True}
        return options(**{**base, **folders, "load_size": 24, "crop_size": 12, **changed})

    return make


def read(opt: Namespace, create_dataset: Callable[[Namespace], data.Loader], passes: int = 4) -> list[dict]:
    loader = create_dataset(opt)
    return [batch for _ in range(passes) for batch in loader]


@pytest.mark.parametrize("preprocess", ["resize_and_crop", "crop", "scale_width_and_crop", "none"])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("mode", MODES)
def test_companions_are_cropped_and_flipped_as_their_image(
    companions, create_dataset, mode: str, direction: str, preprocess: str
) -> None:
    batches = read(companions(mode, direction, preprocess=preprocess), create_dataset)
    source, other = direction[0], direction[-1]
    for batch in batches:
        torch.testing.assert_close(batch[f"{source}_teacher"], -batch[source], rtol=0, atol=0.02)
        if preprocess != "resize_and_crop":  # which is the only one of these to scale the image
            assert torch.equal(batch[f"{source}_mask"], (batch[source][:, :1] > 0).float())
        assert batch[f"{source}_mask"].shape == batch[source][:, :1].shape
        assert not {f"{other}_mask", f"{other}_teacher"} & batch.keys()
    assert len({tuple(batch[source].flatten().tolist()) for batch in batches}) > len(NAMES)


@pytest.mark.parametrize("mode", MODES)
def test_the_images_are_the_same_with_and_without_companions(companions, create_dataset, mode: str) -> None:
    with_them = read(companions(mode), create_dataset)
    without = read(companions(mode, masks=None, teacher_images=None), create_dataset)
    for a, b in zip(with_them, without, strict=True):
        assert a.keys() - b.keys() == {"A_mask", "A_teacher"}
        assert all(torch.equal(a[side], b[side]) and a[f"{side}_paths"] == b[f"{side}_paths"] for side in "AB")


def test_a_scaled_mask_keeps_its_edges_and_a_scaled_image_does_not(companions) -> None:
    item = UnalignedDataset(companions(load_size=40, crop_size=40))[0]
    assert set(item["A_mask"].unique().tolist()) == {0.0, 1.0}
    assert len(item["A_teacher"].unique()) > 100


def test_values_are_those_of_masks_and_of_images(root: Path, companions) -> None:
    save(np.full((20, 24), 51, np.uint8), root / "masksA" / "0.bmp")
    item = UnalignedDataset(companions())[0]
    assert item["A_mask"].unique().tolist() == pytest.approx([0.2])
    assert item["A_teacher"].shape == (3, 12, 12) and item["A_teacher"].min() < -0.5


def test_translations_have_the_channels_of_the_generators_output(companions) -> None:
    for direction in ("AtoB", "BtoA"):
        item = UnalignedDataset(companions(direction=direction, input_nc=3, output_nc=1))[0]
        assert item[f"{direction[0]}_teacher"].shape[0] == 1 and item[direction[0]].shape[0] == 3


def test_a_folder_of_folders_has_masks_for_both_sides(root: Path, companions) -> None:
    (root / "masks").mkdir()
    for side in "AB":
        (root / f"masks{side}").rename(root / "masks" / f"train{side}")
    item = UnalignedDataset(companions(masks=str(root / "masks"), preprocess="none"))[1]
    for side in "AB":
        assert torch.equal(item[f"{side}_mask"], (item[side][:1] > 0).float())
    assert "A_teacher" in item and "B_teacher" not in item


# --- held-out images ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_held_out_images_bring_their_companions(root: Path, companions, create_dataset, mode: str) -> None:
    add_images(root, "3.png", 3)
    opt = companions(mode, holdout=0.4, held_out_from="train")
    batches = list(data.held_out_dataset(opt))
    assert len(batches) == 2
    for batch in batches:
        torch.testing.assert_close(batch["A_teacher"], -batch["A"], rtol=0, atol=0.05)


@pytest.mark.parametrize("own", [True, False])
def test_a_val_folder_has_companions_of_its_own_or_none(root: Path, companions, create_dataset, own: bool) -> None:
    for side in "AB":
        save(noise((24, 20), 9), root / f"val{side}" / "9.png")
    if own:
        save(inside(noise((24, 20), 9)), root / "masksA" / "valA" / "9.png")
    opt = companions(preprocess="none", holdout=0.1, held_out_from="val")
    (batch,) = data.held_out_dataset(opt)
    assert ("A_mask" in batch) == own and "A_teacher" not in batch
    assert opt.masks and opt.teacher_images  # those of the training images
    if own:
        assert torch.equal(batch["A_mask"], (batch["A"][:, :1] > 0).float())


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "folder"), [("masks", "masksA"), ("teacher_images", "negativesA")])
@pytest.mark.parametrize("mode", MODES)
def test_missing_companions_are_counted_and_named(root: Path, companions, mode: str, option: str, folder: str) -> None:
    (root / folder / "0.bmp").unlink()
    (root / folder / "sub" / "0.bmp").unlink()
    (root / folder / "sub" / "other.bmp").touch()
    dataset = {"unaligned": UnalignedDataset, "aligned": AlignedDataset}[mode]
    with pytest.raises(UserError, match=rf"--{option} .*no file for 2 of 3 images of .*\(0\.png, sub/0\.png\)"):
        dataset(companions(mode))


def test_images_that_are_not_used_need_none(root: Path, companions) -> None:
    (root / "masksA" / "sub" / "0.bmp").unlink()
    assert len(UnalignedDataset(companions(max_dataset_size=2))) == 2


@pytest.mark.parametrize("mode", MODES)
def test_another_size_is_refused(root: Path, companions, mode: str) -> None:
    save(noise((20, 24), 1), root / "negativesA" / "1.bmp")
    dataset = {"unaligned": UnalignedDataset, "aligned": AlignedDataset}[mode]
    with pytest.raises(UserError, match=r"1 of 3 files have another size .*1\.bmp: 20x24, and .*1\.png is 24x20"):
        dataset(companions(mode))


def test_one_broken_companion_is_one_too_many(root: Path, companions) -> None:
    (root / "masksA" / "1.bmp").write_text("no")
    with pytest.raises(UserError, match=r"--masks .*1 files can't be used:\n.*1\.bmp"):
        UnalignedDataset(companions())


def test_two_files_of_one_name_are_refused(root: Path, companions) -> None:
    save(noise((24, 20), 1), root / "negativesA" / "1.png")
    with pytest.raises(UserError, match=r"1\.bmp and .*1\.png both belong to .*trainA/1\.png"):
        UnalignedDataset(companions())


def test_a_missing_folder_is_named(companions) -> None:
    with pytest.raises(UserError, match="--masks nowhere: there is no such folder"):
        UnalignedDataset(companions(masks="nowhere"))
