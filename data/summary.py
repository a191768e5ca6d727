"""A few lines about the data, printed before step 1, so that a wrong folder or flag shows before hours are spent."""

from __future__ import annotations

import hashlib
import os
from argparse import Namespace
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from data.checks import Folder, listing
from data.image_folder import make_dataset
from data.layout import PHASES
from data.transforms import output_size
from util.text import printable

HEAD = 64 * 1024  # bytes hashed before a whole file is


def summarise(dataset: Any) -> str:
    """Describe a dataset, or a loader's dataset: counts, sizes, greys, small images, skipped and shared files."""
    dataset = getattr(dataset, "dataset", dataset)
    folders: list[Folder] = getattr(dataset, "folders", [])
    if not folders:
        return f"data: {len(dataset)} items"
    lines: list[str] = []
    for folder in folders:
        lines.extend(describe(folder, dataset.opt, pairs=dataset.opt.dataset_mode == "aligned"))
    if budget := getattr(dataset, "budget", None):
        lines.append(f"data: {budget}")
    return "\n".join(lines)


def describe(folder: Folder, opt: Namespace, pairs: bool = False) -> list[str]:
    """Describe one folder, in a line of counts and a line per peculiarity."""
    sizes = Counter(header.size for header in folder.headers)
    lines = [
        f"data: {printable(folder.directory)}: {len(folder.headers)} {'pairs' if pairs else 'images'}, {_sizes(sizes)}"
    ]
    if folder.left_out:
        lines[0] += f"; {folder.left_out} left out by --max_dataset_size or --holdout"
    kinds = {
        "greyscale": sum(header.is_grey for header in folder.headers),
        "with transparency, which is dropped": sum(header.has_alpha for header in folder.headers),
    }
    lines.extend(f"  {count} {kind}" for kind, count in kinds.items() if count)
    lines.extend(_small(sizes, opt, 2 if pairs else 1))
    if folder.unusable:
        lines.append(f"  {len(folder.unusable)} skipped as unusable:\n{listing(folder.unusable)}")
    for other in other_phases(folder.directory, opt):
        shared = shared_files(folder.paths, make_dataset(other))
        if shared:
            examples = ", ".join(f"{printable(Path(a).name)} = {printable(Path(b).name)}" for a, b in shared[:3])
            lines.append(f"  {len(shared)} also in {other} ({examples}): trained on and measured on")
    return lines


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    (width, height), count = sizes.most_common(1)[0]
    if len(sizes) == 1:
        return f"all {width}x{height}"
    widths, heights = zip(*sizes, strict=True)
    span = f"{min(widths)}x{min(heights)} to {max(widths)}x{max(heights)}"
    return f"{span}, most often {width}x{height} ({count})"


def _small(sizes: Counter[tuple[int, int]], opt: Namespace, panels: int) -> list[str]:
    crop = opt.crop_size
    small = sum(n for (w, h), n in sizes.items() if min(w // panels, h) < crop)
    if not small:
        return []
    if opt.preprocess == "crop":
        return [f"  {small} smaller than the crop ({crop}): taken whole on the short side"]
    if opt.preprocess == "none":
        least = min((output_size(opt, (w // panels, h)) for w, h in sizes), key=min)
        return [
            f"  {small} smaller than --crop_size {crop}, which --preprocess none ignores; least {least[0]}x{least[1]}"
        ]
    return [f"  {small} smaller than the crop ({crop}): enlarged by --preprocess {opt.preprocess}"]


def other_phases(directory: str, opt: Namespace) -> list[str]:
    """List the existing folders of the same side in the other phases: testA and valA for trainA."""
    name = Path(directory).name
    if opt.dataset_mode == "single" or not name.startswith(opt.phase):
        return []
    side = name.removeprefix(opt.phase)
    others = (Path(directory).with_name(phase + side) for phase in PHASES if phase != opt.phase)
    return [str(path) for path in others if path.is_dir()]


def shared_files(paths: Sequence[str], others: Sequence[str]) -> list[tuple[str, str]]:
    """Pair up files of the same content: sifted by size, then by their beginnings; the survivors are read in full."""
    prints: dict[str, Hashable] = {}
    for fingerprint in (_size, _head, _content):
        prints = {path: fingerprint(path) for path in (*paths, *others)}
        common = {prints[path] for path in paths} & {prints[path] for path in others} - {None}
        paths = [path for path in paths if prints[path] in common]
        others = [path for path in others if prints[path] in common]
    by_content = {prints[path]: path for path in reversed(others)}
    return [(path, by_content[prints[path]]) for path in paths]


def _size(path: str) -> int | None:
    file = Path(path)
    return file.stat().st_size if file.is_file() and os.access(file, os.R_OK) else None


def _head(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return hashlib.sha256(file.read(HEAD)).digest()


def _content(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
