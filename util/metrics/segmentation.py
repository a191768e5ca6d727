"""Whether a segmenter finds in a fake street scene what its label map asked for: mIoU and accuracies on Cityscapes.

A segmenter is a plugin: `register("drn_d_105", segment, role="segmenter")` in `register_metrics`; `segment` turns images
(B, 3, H, W) in [0, 1] into classes (B, H, W), or scores (B, 19, H, W). Its name stands in every line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from util.errors import UserError
from util.metrics.evidence import Evidence, Images, Measured, as_tensor, in_order_of
from util.plugin_manager import plugin_manager

IGNORED = 255
# Cityscapes' 19 evaluated classes in the order of their train ids: name, id in *_labelIds.png, colour.
CLASSES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic_light", 19, (250, 170, 30)),
    ("traffic_sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
# The colours of what is not evaluated: a pixel nearest to one of them is ignored.
VOID_COLOURS = (
    (0, 0, 0), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140), (180, 165, 180), (150, 100, 100),
    (150, 120, 90), (0, 0, 90), (0, 0, 110),
)  # fmt: skip

# Where most pixels are farther than that from every colour (Euclidean, of 255 levels), an image is no label map. Of small,
# crowded maps as JPEGs of quality 75 at most 4 in 10 pixels are, of photographs 9 in 10, and 7 in 10 of grey or dark ones.
FAR = 16

Segment = Callable[[Tensor], Tensor]


def train_ids(label_ids: np.ndarray) -> np.ndarray:
    """Map the ids of Cityscapes' *_labelIds.png (H, W) to the 19 train ids, everything else to 255."""
    table = np.full(256, IGNORED, np.uint8)
    for train_id, (_, label_id, _) in enumerate(CLASSES):
        table[label_id] = train_id
    return table[label_ids]


def train_ids_of_colours(labels: np.ndarray) -> np.ndarray:
    """Map label colours (H, W, 3) to train ids by the nearest colour, since JPEG and resizing blur them."""
    nearest = _squared_distances(labels).argmin(1)
    return np.where(nearest < len(CLASSES), nearest, IGNORED).astype(np.uint8).reshape(labels.shape[:2])


def share_of_other_colours(labels: np.ndarray) -> float:
    """Return the share of pixels (H, W, 3) that are far from every colour of a label map."""
    return float(np.mean(_squared_distances(labels).min(1) > FAR**2))


def _squared_distances(labels: np.ndarray) -> np.ndarray:
    """Return the squared distance of each pixel to each colour of the palette, (H * W, colours)."""
    palette = np.array([colour for *_, colour in CLASSES] + list(VOID_COLOURS), np.float32)
    pixels = labels.reshape(-1, 3).astype(np.float32)
    return (pixels**2).sum(1)[:, None] - 2 * pixels @ palette.T + (palette**2).sum(1)


def confusion_matrix(predicted: np.ndarray, truth: np.ndarray, classes: int = len(CLASSES)) -> np.ndarray:
    """Count pixels as (truth, predicted), (classes, classes) int64; a truth outside of the classes is not counted."""
    counted = truth < classes
    wrong = predicted[counted]
    if wrong.size and (wrong.min() < 0 or wrong.max() >= classes):
        raise UserError(f"the segmenter gave class {wrong.max()}, and the classes are 0 to {classes - 1}")
    pairs = classes * truth[counted].astype(np.int64) + wrong.astype(np.int64)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def scores(confusion: np.ndarray) -> tuple[float, float, float, list[float | None]]:
    """Return mIoU, per-pixel accuracy, per-class accuracy and each class's IoU; None for one that nobody saw.

    mIoU is the mean over classes that occur in truth or prediction, per-class accuracy over those that occur in truth.
    """
    hits, truths, predictions = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    if not confusion.sum():
        raise UserError("no pixel of the label maps belongs to one of the 19 classes; are these Cityscapes' labels?")
    unions = truths + predictions - hits
    each = [float(hit / union) if union else None for hit, union in zip(hits, unions, strict=True)]
    seen = [value for value in each if value is not None]
    class_accuracy = float(np.mean(hits[truths > 0] / truths[truths > 0]))
    return float(np.mean(seen)), float(hits.sum() / confusion.sum()), class_accuracy, each


@torch.no_grad()
def measure_miou(evidence: Evidence) -> list[Measured]:
    """Return mIoU, both accuracies and each class's IoU of the fakes, as the chosen segmenter sees them.

    A network that translates something else than label maps has none: the other direction of a CycleGAN.
    """
    name, segment = _segmenter(evidence.opt.segmenter)
    fakes = evidence.judged("miou")
    if not evidence.opt.labels and evidence.sources and not _are_labels(evidence.sources):
        evidence.note(
            f"no miou of {fakes.where}: they were made of {evidence.sources.where}, most of whose pixels have none of the "
            "label maps' colours; --labels DIR names label maps that are not the network's input"
        )
        return []
    labels, read = _labels(evidence, fakes)
    total = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for place, fake in enumerate(fakes):
        predicted = segment(as_tensor([fake]).to(evidence.device))
        if predicted.dim() == 4:
            predicted = predicted.argmax(1)
        truth = read(place, (predicted.shape[2], predicted.shape[1]))
        total += confusion_matrix(predicted[0].cpu().numpy(), truth)
    mean, pixels, classes, each = scores(total)
    words = f"{name}, 19 classes of Cityscapes, labels: {labels}"
    named = {"miou": mean, "pixel_accuracy": pixels, "class_accuracy": classes}
    named |= {f"iou_{CLASSES[k][0]}": value for k, value in enumerate(each) if value is not None}
    count, resolution = len(fakes), fakes.resolution
    return [Measured(k, v, None, count, count, words, resolution=resolution) for k, v in named.items()]


def _segmenter(name: str | None) -> tuple[str, Segment]:
    known = plugin_manager().names("metrics", "segmenter")
    if not name and len(known) != 1:
        there = (
            f"type --segmenter {' or '.join(known)}" if known else "none is registered: docs/evaluation.md shows how"
        )
        raise UserError(f"--metrics miou needs a network that segments street scenes; {there}")
    return name or known[0], plugin_manager().get("metrics", name or known[0], role="segmenter")


def _labels(evidence: Evidence, fakes: Images) -> tuple[str, Callable[[int, tuple[int, int]], np.ndarray]]:
    """Say where the label maps come from, and return what reads one of them at a (width, height)."""
    if not evidence.opt.labels:
        sources = evidence.sources
        if sources is None:
            raise UserError("--metrics miou needs the label maps that the fakes were made of: --labels DIR")
        return "colours of the network's input", lambda place, size: _resized(
            train_ids_of_colours(sources.read(place)), size
        )
    folder = Path(evidence.opt.labels)
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp"))
    stems = Images(tuple(path.stem for path in paths), lambda index: _read(paths[index]), str(folder))
    ordered = in_order_of(fakes.names, stems)
    if ordered is None:
        raise UserError(
            f"--labels {folder} holds {len(paths)} images, and none for some of {fakes.where} (e.g. {fakes.names[0]}); a "
            "label map has its fake's name"
        )
    return f"{folder.name}/", lambda place, size: _resized(ordered.read(place), size)


def _are_labels(images: Images) -> bool:
    """Tell label maps from photographs."""
    return float(np.mean([share_of_other_colours(image) for image in images])) <= 0.5


def _read(path: Path) -> np.ndarray:
    """Read train ids from a file of label ids (one grey channel) or of colours."""
    with Image.open(path) as image:
        if image.mode == "L":
            return train_ids(np.asarray(image))
        return train_ids_of_colours(np.asarray(image.convert("RGB")))


def _resized(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize classes to a (width, height), without mixing them."""
    if (labels.shape[1], labels.shape[0]) == size:
        return labels
    return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
