"""Images kept in memory are those read anew, to the last bit, for every process, and never more than the budget."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import data.images
from data import held_out_dataset, summarise
from data.aligned_dataset import AlignedDataset
from data.images import Budget, Images, SharedMemory
from data.loader import Loader
from data.single_dataset import SingleDataset
from data.template_dataset import TemplateDataset
from data.transforms import PREPROCESS
from data.unaligned_dataset import UnalignedDataset
from util.errors import UserError

MODES = {"unaligned": UnalignedDataset, "aligned": AlignedDataset, "single": SingleDataset}
RAM = {"cache_images": "ram", "cache_gb": 1.0}


def batches(opt, *passes: tuple[int, int]) -> list[dict]:
    loader = Loader(MODES[opt.dataset_mode](opt), opt)
    taken = []
    for epoch_key, start in passes:
        loader.set_pass(epoch_key, start)
        taken += list(loader)
    return taken


def assert_same(found: list[dict], expected: list[dict]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.keys() == b.keys()
        for name, value in b.items():
            assert torch.equal(a[name], value) if isinstance(value, torch.Tensor) else a[name] == value


def with_companions(root: Path) -> dict[str, str]:
    """Give each image of A a mask and a translation."""
    sizes = {path: Image.open(path).size for path in [*root.glob("trainA/*"), *root.glob("train/*")]}
    for path, (width, height) in sizes.items():
        size = (width // 2 if path.parent.name == "train" else width, height)
        noise = Image.effect_noise(size, 120)
        for kind, image in (("masks", noise.point(lambda v: 255 * (v > 128))), ("teacher", noise.convert("RGB"))):
            (root / kind).mkdir(exist_ok=True)
            image.save(root / kind / f"{path.stem}.png")
    return {"masks": str(root / "masks"), "teacher_images": str(root / "teacher")}


@pytest.fixture
def uneven(horses, shoes, photo) -> Path:
    """Make both sets, with a side of A that has files of other sizes and modes."""
    photo("trainA/1.png", (31, 40))
    photo("trainA/2.png", (20, 33), mode="L")
    photo("trainB/wide.png", (60, 24))
    return horses


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("preprocess", PREPROCESS)
def test_kept_is_equal_to_read_anew(mode, preprocess, uneven, options):
    root = uneven / "trainA" if mode == "single" else uneven
    extra = {} if mode == "single" else with_companions(uneven)
    opt = {"dataset_mode": mode, "preprocess": preprocess, "dataroot": str(root), "isTrain": True} | extra
    passes = [(1, 0), (2, 3), (1, 0)]
    plain = batches(options(**opt), *passes)
    assert_same(batches(options(**opt, **RAM), *passes), plain)
    if extra:
        assert {"A_mask", "A_teacher"} <= plain[0].keys()


@pytest.mark.parametrize("changed", [{"input_nc": 1}, {"direction": "BtoA", "input_nc": 1}, {"batch_size": 3}])
@pytest.mark.parametrize("mode", ["unaligned", "aligned"])
def test_grey_sides_and_batches_too(mode, changed, horses, shoes, options):
    opt = {"dataset_mode": mode, "dataroot": str(horses)} | changed
    passes = [(0, 0), (7, 3)]
    assert_same(batches(options(**opt, **RAM), *passes), batches(options(**opt), *passes))


@pytest.mark.parametrize("panels", [1, 2])
def test_pixels_equal_pillow_written_out(panels, tmp_path, photo, options):
    path = photo("1.png", (30 * panels, 26))
    greys = (False, True)[:panels]
    images = Images(options(), {str(path): (30, 26)}, greys, budget=Budget(1))
    for _ in range(2):
        for number, (pixels, grey) in enumerate(zip(images.read(str(path)), greys, strict=True)):
            part = Image.open(path).crop((30 * number, 0, 30 * number + 30, 26)).convert("L" if grey else "RGB")
            expected = np.array(part.resize((20, 20), Image.Resampling.BICUBIC))
            expected = expected[None] if grey else np.stack([expected[..., channel] for channel in range(3)])
            assert pixels.dtype == torch.uint8
            assert np.array_equal(pixels.numpy(), expected)


@pytest.mark.parametrize("num_threads", [0, 2])
def test_later_passes_need_no_file(num_threads, horses, options):
    opt = options(num_threads=num_threads, **RAM)
    plain = batches(options(), (0, 0), (0, 0), (4, 0))
    loader = Loader(UnalignedDataset(opt), opt)
    found = []
    for number, epoch_key in enumerate((0, 0, 4)):
        loader.set_pass(epoch_key)
        found += list(loader)
        if number == 0:
            for path in {path for batch in found for path in (*batch["A_paths"], *batch["B_paths"])}:
                Path(path).unlink()  # perhaps another worker's share in the passes to come
    assert not list(horses.glob("trainA/*"))
    assert_same(found, plain)


def test_a_process_started_afresh_sees_the_same_memory():
    memory = SharedMemory(10)
    assert memory.bytes.tolist() == [0] * 10
    process = multiprocessing.get_context("spawn").Process(
        target=exec, args=("memory.bytes[:] = 7", {"memory": memory})
    )
    process.start()
    process.join()
    assert memory.bytes.tolist() == [7] * 10


def count_decodes(monkeypatch) -> list[str]:
    """Return a list that grows by each file that is decoded."""
    decoded: list[str] = []
    plain = data.images.open_image
    monkeypatch.setattr(data.images, "open_image", lambda path: decoded.append(Path(path).name) or plain(path))
    return decoded


def test_what_comes_first_is_kept_and_no_more(horses, options, monkeypatch):
    one = 20 * 20 * 3 + data.images.CHECKSUM
    opt = options(cache_images="ram", cache_gb=9.5 * one / 1e9)  # the 7 of A and 2 of B
    dataset = UnalignedDataset(opt)
    assert dataset.images["A"].memory.size + dataset.images["B"].memory.size == 9 * one
    decoded = count_decodes(monkeypatch)
    for path in 2 * (dataset.A_paths + dataset.B_paths):
        dataset.images["A" if path in dataset.A_paths else "B"].read(path)
    assert sorted(decoded) == sorted(
        [f"{i}.png" for i in range(7)] + ["0.png", "1.png"] + 2 * ["2.png", "3.png", "4.png"]
    )
    assert "kept in memory once read: 9 of 12 files, 0.00 GB of" in summarise(dataset)
    assert "the rest is read anew" in summarise(dataset)


def test_what_another_process_has_half_written_is_not_believed(photo, options, monkeypatch):
    path = str(photo("1.png"))
    images = Images(options(), {path: (24, 24)}, budget=Budget(1))
    (expected,) = images.read(path)
    decoded = count_decodes(monkeypatch)
    assert torch.equal(images.read(path)[0], expected)
    assert not decoded
    other = Images(options(), {path: (24, 24)}, budget=Budget(1))
    other.memory = images.memory
    images.memory.bytes[500] ^= 1
    assert torch.equal(other.read(path)[0], expected)
    assert decoded == ["1.png"]
    assert torch.equal(other.read(path)[0], expected)
    assert decoded == ["1.png"]


def test_a_file_that_changed_its_size_is_read_anew(photo, options):
    opt = options(preprocess="none")
    path = str(photo("1.png"))
    images = Images(opt, {path: (24, 24)}, budget=Budget(1))
    Image.new("RGB", (9, 5), "red").save(path)
    assert [images.read(path)[0].shape for _ in range(2)] == [(3, 5, 9)] * 2


def test_reading_does_not_disturb_what_is_kept(horses, options):
    dataset = UnalignedDataset(options(**RAM, preprocess="none", no_flip=True))
    random.seed(0)
    first = dataset[0]["A"].clone()
    dataset[0]["A"].zero_()
    assert torch.equal(dataset[0]["A"], first)


def test_summary_says_what_is_kept(horses, shoes, options):
    pairs = AlignedDataset(options(dataset_mode="aligned", **RAM))
    assert summarise(pairs).endswith("kept in memory once read: 6 of 6 files, 0.00 GB of --cache_gb 1")
    assert "cache" not in summarise(AlignedDataset(options(dataset_mode="aligned")))
    template = TemplateDataset(options(dataset_mode="template", dataroot=str(horses / "trainA"), **RAM))
    assert "does nothing here" in summarise(template)


def test_held_out_images_are_not_kept(horses, options, create_dataset):
    loader = held_out_dataset(options(holdout=0.5, held_out_from="train", **RAM))
    assert loader.dataset.budget is None


@pytest.mark.parametrize("cache_gb", [0, -1, float("nan")])
def test_a_budget_of_nothing_is_refused(cache_gb, horses, options):
    with pytest.raises(UserError, match=r"--cache_gb .* keeps no image"):
        UnalignedDataset(options(cache_images="ram", cache_gb=cache_gb))
