"""Files that belong to images, masks and precomputed translations: found by name, cropped and flipped alike."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from data.checks import NAMED, Folder, check_files, listing
from data.image_folder import make_dataset
from data.images import Budget, Images
from data.transforms import BICUBIC, get_transform
from util.errors import UserError
from util.text import printable

KINDS = {"masks": "mask", "teacher_images": "teacher"}  # the option that names the folder, and what an item calls it


class Companions:
    """What `--masks` and `--teacher_images` hold for the images of one side, 'A' or 'B'.

    A companion has its image's path within the folder but for the ending: `--masks M` has M/x/1.png for trainA/x/1.jpg,
    or M/trainA/x/1.png where there is a folder M/trainA. Each image of the source side has to have one. The other side
    has no translation, and masks only where a folder of its own name holds them.
    """

    def __init__(
        self, opt: Namespace, side: str, images: Folder, panels: int = 1, budget: Budget | None = None
    ) -> None:
        self.opt, self.side = opt, side
        self.readers: dict[str, Images] = {}
        self.files: dict[str, dict[str, str]] = {}
        for option, kind in KINDS.items():
            if not (root := getattr(opt, option, None)):  # only distilling models have the option
                continue
            own = own_folder(root, Path(images.directory).name)
            if side == source_side(opt) or (kind == "mask" and own):
                self.files[kind] = match(f"--{option} {root}", own or Path(root), images, panels)
                sizes = {self.files[kind][h.path]: (h.size[0] // panels, h.size[1]) for h in images.headers}
                grey = kind == "mask" or opt.output_nc == 1
                # nearest: a mask's edge stays an edge
                method = Image.Resampling.NEAREST if kind == "mask" else BICUBIC
                self.readers[kind] = Images(opt, sizes, [grey], method, budget)

    def read(self, path: str, params: dict[str, Any]) -> dict[str, Tensor]:
        """Return the image's companions, by the draw of crop and flip that the image had.

        'A_mask' (1, H, W) in [0, 1] and 'A_teacher' (C, H, W) in [-1, 1], with the letter of the side.
        """
        found: dict[str, Tensor] = {}
        transform = get_transform(self.opt, params)
        for kind, images in self.readers.items():
            (pixels,) = images.read(self.files[kind][path])
            found[f"{self.side}_{kind}"] = (transform(pixels) + 1) / 2 if kind == "mask" else transform(pixels)
        return found


def source_side(opt: Namespace) -> str:
    """Return the side that is translated."""
    return "A" if opt.direction == "AtoB" else "B"


def own_folder(root: str, name: str) -> Path | None:
    """Return the sub-folder of `root` for the images of the folder called `name`, where there is one."""
    own = Path(root, name)
    return own if own.is_dir() else None


def match(asked: str, folder: Path, images: Folder, panels: int) -> dict[str, str]:
    """Find each image's companion and check it, from its header, for the image's size."""
    if not folder.is_dir():
        raise UserError(f"{asked}: there is no such folder; type the folder that holds one file for each image")
    by_name: dict[str, list[str]] = {}
    for file in make_dataset(folder):
        by_name.setdefault(_name(file, folder), []).append(file)
    found = {header.path: by_name.get(_name(header.path, images.directory), []) for header in images.headers}
    _refuse_missing(asked, folder, found, images.directory)
    for path, files in found.items():
        if len(files) > 1:
            both = printable(" and ".join(files))
            raise UserError(f"{asked}: {both} both belong to {printable(path)} by their name; leave one of them")
    companions = {path: files[0] for path, files in found.items()}
    headers, unusable = check_files(sorted(set(companions.values())))
    if unusable:
        raise UserError(f"{asked}: {len(unusable)} files can't be used:\n{listing(unusable)}\nmend them")
    sizes = {header.path: header.size for header in headers}
    wanted = {header.path: (header.size[0] // panels, header.size[1]) for header in images.headers}
    other = [path for path, file in companions.items() if sizes[file] != wanted[path]]
    if other:
        size, sized = wanted[other[0]], sizes[companions[other[0]]]
        image, file = printable(other[0]), printable(companions[other[0]])
        raise UserError(
            f"{asked}: {len(other)} of {len(companions)} files have another size than their image, such as {file}: "
            f"{_size(sized)}, and {image} is {_size(size)}; scale them to their images, so that both can be "
            "cropped alike"
        )
    return companions


def _refuse_missing(asked: str, folder: Path, found: dict[str, list[str]], directory: str) -> None:
    missing = [path for path, files in found.items() if not files]
    if missing:
        names = [printable(Path(path).relative_to(directory).as_posix()) for path in missing[:NAMED]]
        raise UserError(
            f"{asked}: {folder} has no file for {len(missing)} of {len(found)} images of {directory} "
            f"({', '.join(names)}{', …' if len(missing) > NAMED else ''}); a file is found by its image's name, "
            "sub-folder included, whatever the ending; add them, or leave the images out"
        )


def _name(path: str, folder: str | Path) -> str:
    return Path(path).relative_to(folder).with_suffix("").as_posix()


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
