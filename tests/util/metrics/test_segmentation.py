"""mIoU and accuracies: exact on cases counted by hand; Cityscapes' labels from ids and from colours."""

from __future__ import annotations

import io
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from tests.conftest import SHARED
from tests.util.metrics.conftest import images
from util.errors import UserError
from util.metrics import segmentation
from util.metrics.evidence import Evidence
from util.metrics.segmentation import (
    CLASSES,
    confusion_matrix,
    measure_miou,
    scores,
    share_of_other_colours,
    train_ids,
    train_ids_of_colours,
)
from util.plugin_manager import PluginManager

ROAD, SKY, CAR = (CLASSES[i][2] for i in (0, 10, 13))


def test_a_confusion_matrix_counted_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, 2, 255]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 0, 2]])
    confusion = confusion_matrix(predicted, truth, 4)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    mean, pixels, classes, each = scores(confusion)
    assert each == [1 / 3, 2 / 3, 0.0, None]  # nobody saw the last class
    assert mean == pytest.approx(1 / 3) and pixels == 3 / 5
    assert classes == pytest.approx((1 / 2 + 1 + 0) / 3)


def test_a_class_that_is_only_predicted_counts_in_the_mean_but_not_in_the_accuracy() -> None:
    mean, pixels, classes, each = scores(np.array([[3, 1], [0, 0]]))
    assert each == [3 / 4, 0.0] and mean == 3 / 8 and pixels == classes == 3 / 4


def test_ids_are_the_nineteen_of_cityscapes() -> None:
    ids = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33], np.uint8)
    assert train_ids(ids).tolist() == list(range(19))
    others = np.array([i for i in range(256) if i not in ids], np.uint8)
    assert (train_ids(others) == 255).all()


def test_colours_are_the_nearest() -> None:
    labels = np.array([[colour for *_, colour in CLASSES]], np.int16)
    assert train_ids_of_colours(labels).tolist() == [list(range(19))]
    blurred = np.clip(labels + np.random.default_rng(0).integers(-4, 5, labels.shape), 0, 255)
    assert train_ids_of_colours(blurred).tolist() == [list(range(19))]
    assert train_ids_of_colours(np.array([[[2, 1, 0], [80, 2, 80]]])).tolist() == [[255, 255]]  # unlabelled, ground


def test_no_evaluated_pixel_and_an_unknown_class() -> None:
    with pytest.raises(UserError, match="Cityscapes' labels"):
        scores(confusion_matrix(np.zeros((2, 2), int), np.full((2, 2), 255, np.uint8)))
    with pytest.raises(UserError, match="gave class 19"):
        confusion_matrix(np.full((2, 2), 19), np.zeros((2, 2), np.uint8))


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> PluginManager:
    """Return a manager that holds no plugin, and that the metric asks for segmenters."""
    manager = PluginManager()
    monkeypatch.setattr(segmentation, "plugin_manager", lambda: manager)
    return manager


def by_red(batch: torch.Tensor) -> torch.Tensor:
    """Find a road where an image is red, else a sky; as scores (B, 19, H, W)."""
    found = torch.zeros(len(batch), 19, *batch.shape[2:])
    found[:, 0], found[:, 10] = batch[:, 0], 1 - batch[:, 0]
    return found


def test_the_metric_with_a_segmenter_from_a_plugin(manager: PluginManager, tmp_path: Path) -> None:
    manager._register_for("metrics", "a plugin", "")("by_red", by_red, role="segmenter")
    fake = np.zeros((2, 4, 3), np.uint8)
    fake[0, :, 0] = 255  # a road above, a sky below
    source = np.zeros((2, 4, 3), np.uint8)
    source[0, :3], source[0, 3], source[1] = ROAD, CAR, SKY
    opt = Namespace(segmenter=None, labels=None)
    evidence = Evidence(opt, images(fake), sources=images(source))
    found = {one.metric: one.value for one in measure_miou(evidence)}
    assert found["pixel_accuracy"] == 7 / 8
    assert (found["iou_road"], found["iou_sky"], found["iou_car"]) == (3 / 4, 1.0, 0.0)
    assert found["miou"] == pytest.approx(1.75 / 3) and found["class_accuracy"] == pytest.approx(2 / 3)
    assert "by_red" in measure_miou(evidence)[0].protocol

    opt.labels = str(tmp_path)
    ids = np.array([[7, 7, 7, 26], [23, 23, 23, 23]], np.uint8)
    Image.fromarray(ids).resize((8, 4), Image.Resampling.NEAREST).save(tmp_path / "0.png")  # twice the fake's size
    assert {one.metric: one.value for one in measure_miou(evidence)} == found
    (tmp_path / "0.png").rename(tmp_path / "other.png")
    with pytest.raises(UserError, match="a label map has its fake's name"):
        measure_miou(evidence)


def test_a_segmenter_has_to_be_there_and_to_be_meant(manager: PluginManager) -> None:
    evidence = Evidence(Namespace(segmenter=None, labels=None), images(np.zeros((2, 2, 3), np.uint8)))
    with pytest.raises(UserError, match="none is registered"):
        measure_miou(evidence)
    register = manager._register_for("metrics", "a plugin", "")
    register("one", by_red, role="segmenter")
    with pytest.raises(UserError, match="the label maps that the fakes were made of"):
        measure_miou(evidence)
    register("two", by_red, role="segmenter")
    with pytest.raises(UserError, match="type --segmenter one or two"):
        measure_miou(evidence)


# --- what is a label map ------------------------------------------------------------------------------------------------


def label_map(seed: int, boxes: int = 60, quality: int = 75) -> np.ndarray:
    """Return a crowded label map of 256 x 128 pixels as a JPEG shows it, with colours at half its resolution."""
    generator = np.random.default_rng(seed)
    image = Image.new("RGB", (256, 128), ROAD)
    for _ in range(boxes):
        (x, y), (width, height) = generator.integers(0, (256, 128)), generator.integers(2, 40, 2)
        ImageDraw.Draw(image).rectangle((x, y, x + width, y + height), CLASSES[generator.integers(len(CLASSES))][2])
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(file))


def photograph(seed: int) -> np.ndarray:
    """Return a picture whose colours and brightness vary as a photograph's do."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (4, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((256, 128), Image.Resampling.BICUBIC)).astype(float)
    return np.clip(smooth + generator.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("quality", [95, 75, 50])
def test_a_label_map_is_known_as_one_in_spite_of_jpeg(quality: int) -> None:
    shares = [share_of_other_colours(label_map(seed, quality=quality)) for seed in range(4)]
    assert min(shares) > 0.02 and max(shares) < 0.45


def test_a_photograph_is_no_label_map() -> None:
    assert min(share_of_other_colours(photograph(seed)) for seed in range(4)) > 0.75


@pytest.mark.parametrize("side", ["testA", "testB"])
def test_published_photographs_are_no_label_maps(side: str) -> None:
    if not (SHARED / "data" / "horse2zebra").is_dir():
        pytest.skip("needs shared/data/horse2zebra beside the checkout")
    paths = sorted((SHARED / "data" / "horse2zebra" / side).glob("*.jpg"))[:20]
    for mode in ("RGB", "L"):
        shares = [share_of_other_colours(np.asarray(Image.open(path).convert(mode).convert("RGB"))) for path in paths]
        assert np.mean(shares) > 0.65, mode


def test_what_was_made_of_photographs_has_no_miou(manager: PluginManager, tmp_path: Path) -> None:
    """The other direction of a run from label maps to photographs; the first one is measured all the same."""
    manager._register_for("metrics", "a plugin", "")("by_red", by_red, role="segmenter")
    opt = Namespace(segmenter=None, labels=None)
    labels, photographs = (images(*map(make, range(3)), where=make.__name__) for make in (label_map, photograph))
    back = Evidence(opt, labels, sources=photographs)
    assert measure_miou(back) == []
    (note,) = back.notes
    assert note.startswith("no miou of label_map: they were made of photograph, ") and "--labels DIR" in note
    there = Evidence(opt, photographs, sources=labels)
    assert measure_miou(there)[0].metric == "miou" and not there.notes

    opt.labels = str(tmp_path)  # who names label maps knows better
    for number in range(3):
        Image.fromarray(np.full((128, 256), 7, np.uint8)).save(tmp_path / f"{number}.png")
    assert measure_miou(back)[0].metric == "miou"
