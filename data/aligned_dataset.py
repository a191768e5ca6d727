"""Pairs stored as one file each, A|B side by side, in the folder train, as pix2pix needs them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from data.base_dataset import BaseDataset, get_params, get_transform
from data.checks import NAMED, Header
from data.companions import Companions, source_side
from data.transforms import size_of
from util.errors import UserError
from util.text import printable


class AlignedDataset(BaseDataset):
    """Answer with the two halves of one file, cropped and flipped alike."""

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """Add the way round the check that files are pairs of squares."""
        parser.add_argument(
            "--any_pair_shape", action="store_true", help="accept A|B files whose halves are not square"
        )
        return parser

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.AB_paths = self.images_in(opt.phase, panels=2)
        self._check_pairs(self.folders[-1].headers)
        self.images = self.pixels_of(self.folders[-1], self.grayscale_sides())
        self.companions = Companions(self.opt, source_side(opt), self.folders[-1], panels=2, budget=self.budget)

    def _check_pairs(self, headers: list[Header]) -> None:
        any_shape = getattr(self.opt, "any_pair_shape", False)
        single = [header for header in headers if not is_pair(header.size, any_shape)]
        if single:
            names = "\n".join(f"  {printable(h.path)}: {h.size[0]}x{h.size[1]}" for h in single[:NAMED])
            raise UserError(
                "--dataset_mode aligned expects each file to hold A and B side by side, twice as wide as high; "
                f"{len(single)} of {len(headers)} files are not:\n{names}\n"
                "join separate photos with `python -m datasets.combine_A_and_B`, use --dataset_mode unaligned for "
                "photos without a partner"
                + ("" if any_shape else ", or type --any_pair_shape if these are pairs whose halves are not square")
            )

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {'A', 'B', 'A_paths', 'B_paths'}, and the companions that the options ask for."""
        path = self.AB_paths[index]
        A, B = self.images.read(path)
        params = get_params(self.opt, size_of(A))
        transform = get_transform(self.opt, params)
        item = {"A": transform(A), "B": transform(B), "A_paths": path, "B_paths": path}
        return item | self.companions.read(path, params)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.AB_paths)


def is_pair(size: tuple[int, int], any_shape: bool = False) -> bool:
    """Tell whether an image can be two equal halves, which are square to within 5 % unless `any_shape`.

    A proportion alone can't tell a pair of portraits from one landscape, hence the narrow bounds.
    """
    width, height = size
    return width % 2 == 0 and (any_shape or 1.9 <= width / height <= 2.1)
