"""List what upstream's hosts offer: names, addresses, how many images a complete set holds, and what is allowed."""

from __future__ import annotations

from typing import NamedTuple

HOST = "http://efrosgans.eecs.berkeley.edu"
HOME_PAGES = "https://people.eecs.berkeley.edu"


class Kind(NamedTuple):
    """Describe one sort of download; {name} stands for the name asked for."""

    noun: str
    path: str  # below HOST, and below POCKETGAN_MIRROR
    mirrors: tuple[str, ...]  # whole addresses, tried after HOST
    target: str  # the folder of a set, the file of a model; from the working folder
    names: tuple[str, ...]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


KINDS = {
    "cyclegan_dataset": Kind(
        "dataset",
        "cyclegan/datasets/{name}.zip",
        (HOME_PAGES + "/~taesung_park/CycleGAN/datasets/{name}.zip",),
        "datasets/{name}",
        _names(
            "apple2orange summer2winter_yosemite horse2zebra monet2photo cezanne2photo ukiyoe2photo vangogh2photo maps "
            "cityscapes facades iphone2dslr_flower ae_photos mini mini_pix2pix mini_colorization"
        ),
    ),
    "pix2pix_dataset": Kind(
        "dataset",
        "pix2pix/datasets/{name}.tar.gz",
        (HOME_PAGES + "/~tinghuiz/projects/pix2pix/datasets/{name}.tar.gz",),
        "datasets/{name}",
        _names("cityscapes night2day edges2handbags edges2shoes facades maps"),
    ),
    "cyclegan_model": Kind(
        "model",
        "cyclegan/pretrained_models/{name}.pth",
        (),
        "checkpoints/{name}_pretrained/latest_net_G.pth",
        _names(
            "apple2orange orange2apple summer2winter_yosemite winter2summer_yosemite horse2zebra zebra2horse "
            "monet2photo style_monet style_cezanne style_ukiyoe style_vangogh sat2map map2sat cityscapes_photo2label "
            "cityscapes_label2photo facades_photo2label facades_label2photo iphone2dslr_flower"
        ),
    ),
    "pix2pix_model": Kind(
        "model",
        "pix2pix/models-pytorch/{name}.pth",
        (),
        "checkpoints/{name}_pretrained/latest_net_G.pth",
        _names("edges2shoes sat2map map2sat facades_label2photo day2night"),
    ),
}


def _unpaired(trainA: int, trainB: int, testA: int, testB: int) -> dict[str, int]:
    return {"trainA": trainA, "trainB": trainB, "testA": testA, "testB": testB}


# CycleGAN's sets as the TensorFlow Datasets catalogue counts them (cycle_gan 2.0.0). The pix2pix sets as they are
# commonly reported. A set that is not listed is unpacked without a check, and the user is told.
COUNTS = {
    ("cyclegan_dataset", "apple2orange"): _unpaired(995, 1019, 266, 248),
    ("cyclegan_dataset", "summer2winter_yosemite"): _unpaired(1231, 962, 309, 238),
    ("cyclegan_dataset", "horse2zebra"): _unpaired(1067, 1334, 120, 140),
    ("cyclegan_dataset", "monet2photo"): _unpaired(1072, 6287, 121, 751),
    ("cyclegan_dataset", "cezanne2photo"): _unpaired(525, 6287, 58, 751),
    ("cyclegan_dataset", "ukiyoe2photo"): _unpaired(562, 6287, 263, 751),
    ("cyclegan_dataset", "vangogh2photo"): _unpaired(400, 6287, 400, 751),
    ("cyclegan_dataset", "maps"): _unpaired(1096, 1096, 1098, 1098),
    ("cyclegan_dataset", "facades"): _unpaired(400, 400, 106, 106),
    ("cyclegan_dataset", "iphone2dslr_flower"): _unpaired(1812, 3325, 569, 480),
    ("pix2pix_dataset", "facades"): {"train": 400, "val": 100, "test": 106},
    ("pix2pix_dataset", "maps"): {"train": 1096, "val": 1098},
    ("pix2pix_dataset", "edges2shoes"): {"train": 49825, "val": 200},
    ("pix2pix_dataset", "edges2handbags"): {"train": 138567, "val": 200},
}

_ART = "paintings from WikiArt and photographs from Flickr; the rights stay with their owners"
_IMAGENET = "photographs from ImageNet: its terms allow non-commercial research and education only"
_FLICKR = "photographs from Flickr; the rights stay with their photographers"
_NOT_OURS = "collected by others for research; look up the terms of the source before any other use"
# What the data allow, as a user should know it before using them; cite the papers of upstream's docs/datasets.md.
PERMISSIONS = {
    "apple2orange": _IMAGENET,
    "horse2zebra": _IMAGENET,
    "summer2winter_yosemite": _FLICKR,
    "iphone2dslr_flower": _FLICKR,
    "ae_photos": _FLICKR,
    "monet2photo": _ART,
    "cezanne2photo": _ART,
    "ukiyoe2photo": _ART,
    "vangogh2photo": _ART,
    "maps": "pictures scraped from Google Maps, whose terms apply",
    "facades": "the CMP Facade Database (Tylecek and Sara, 2013); cite it",
    "night2day": "the Transient Attributes dataset (Laffont et al., 2014); cite it",
    "edges2shoes": "UT Zappos50K (Yu and Grauman, 2014): academic, non-commercial use only; cite it",
    "edges2handbags": "Amazon product photographs of the iGAN project (Zhu et al., 2016), for research; cite it",
}
OF_MODELS = (
    "released by the authors of CycleGAN and pix2pix with their code, for research; the terms of the images they were "
    "trained on apply as well"
)


def permission(kind: str, name: str) -> str:
    """Say what may be done with a set or model."""
    return OF_MODELS if kind.endswith("model") else PERMISSIONS.get(name, _NOT_OURS)


CITYSCAPES = (
    "cityscapes was asked for; its licence forbids passing it on, so no host offers it; register at "
    "https://www.cityscapes-dataset.com, fetch gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip, resize the "
    "photographs and the colour label maps to 256 x 256 into PHOTOS/train, PHOTOS/val, LABELS/train, LABELS/val under "
    "the same names, and type: "
    "python datasets/combine_A_and_B.py --fold_A PHOTOS --fold_B LABELS --fold_AB datasets/cityscapes"
)
