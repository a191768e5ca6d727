"""What to say when a dataroot does not hold what the options ask for: what is there, and what would fit."""

from __future__ import annotations

import difflib
from argparse import Namespace
from pathlib import Path

from data.image_folder import IMG_EXTENSIONS, is_image_file, make_dataset
from util.errors import UserError
from util.text import printable

PHASES = ("train", "val", "test")
FOLDERS = {"unaligned": ("{}A", "{}B"), "aligned": ("{}",)}
TRANSLATABLE = tuple(phase + side for phase in ("test", "val", "train") for side in ("A", "B", ""))
SHOWN = 8  # how many sub-folders an error lists


def nothing_found(opt: Namespace, directory: Path) -> UserError:
    """Make the error for a folder that is missing, or holds no image."""
    root, mode = Path(opt.dataroot), opt.dataset_mode
    if not root.exists():
        return UserError(f"--dataroot {root} does not exist; {_nearby(root)}")
    if root.is_file():
        return UserError(
            f"--dataroot {root} is a file, but --dataset_mode {mode} looks for the folder {directory}; "
            + ("type the folder" if opt.isTrain else "type the folder, or --model test to translate this file")
        )
    looked_for = f"--dataset_mode {mode} with --phase {opt.phase} looks for images in {directory}"
    if mode == "single":
        looked_for = f"--dataset_mode single translates the images in {directory}"
    elif directory.is_dir():
        looked_for += f", but it holds none ({_contents(directory)})"
    return UserError(f"{looked_for}; {root} holds {_contents(root)}; {_advice(opt, root)}")


def is_collection(root: Path) -> bool:
    """Tell a dataset's root (trainA, testB, … and no image beside them) from a folder of images."""
    return root.is_dir() and not _images_directly_in(root) and any(_has(root, name) for name in TRANSLATABLE)


def phases(root: Path, mode: str, wanted: str = "train") -> list[str]:
    """List the phases for which `root` holds what a mode needs, `wanted` first, training data last for a test."""
    if mode not in FOLDERS or not root.is_dir():
        return []
    order = PHASES if wanted == "train" else PHASES[::-1]
    names = [wanted, *(phase for phase in order if phase != wanted)]
    return [phase for phase in names if has_phase(root, mode, phase)]


def has_phase(root: Path, mode: str, phase: str) -> bool:
    """Tell whether `root` holds a phase's images; of a dataset of one's own, only the folder's name is known."""
    folders = FOLDERS.get(mode, ())
    return all(_has(root, folder.format(phase)) for folder in folders) if folders else (root / phase).is_dir()


def judged_phase(root: Path, mode: str) -> str:
    """Return the phase that is the test set: test, or val where that is all there is, as upstream's pairs come."""
    return "val" if has_phase(root, mode, "val") and not has_phase(root, mode, "test") else "test"


def _advice(opt: Namespace, root: Path) -> str:
    """Name the smallest change of the options that would find images."""
    mode, phase = opt.dataset_mode, opt.phase
    if mode == "single":
        if getattr(opt, "run_dataset_mode", None) == "aligned" and (found := phases(root, "aligned", phase)):
            flags = f"--model {opt.run_model} --dataroot {root}" + (f" --phase {found[0]}" * (found[0] != phase))
            return f"type {flags}: its files hold A and B side by side, as the run was trained"
        fitting = [f"--dataroot {root / name}" for name in TRANSLATABLE if _has(root, name)]
        return f"type {' or '.join(fitting[:2])}" if fitting else _expected(mode, root)
    modes = [mode, *(name for name in FOLDERS if name != mode)]
    here = [(root, name) for name in modes]
    children = [(path, name) for name in modes for path in sorted(root.iterdir()) if path.is_dir()]
    above = [(root.parent if root.name else root.absolute().parent, name) for name in modes]
    for path, name in (*here, *children, *above):
        if found := phases(path, name, phase):
            if opt.isTrain and phase not in found and "train" in found:
                found = ["train"]  # nobody means to train on test images
            flags = [f"--dataroot {path}"] if path != root else []
            flags += [_for_mode(opt, name)] if name != mode else []
            flags += [f"--phase {found[0]}"] if phase not in found else []
            others = f" (or {', '.join(found[1:])})" if phase not in found and found[1:] else ""
            return f"type {' '.join(flags)}{others}{_made_for(opt, name)}"
    if _has(root, "A") and _has(root, "B"):
        return f"join A and B with `python -m datasets.combine_A_and_B --fold_A {root}/A --fold_B {root}/B --fold_AB …`"
    if opt.isTrain:
        return _expected(mode, root)
    for name in TRANSLATABLE:
        if _has(root, name):
            alone = f"to translate {name} alone, type --model test --dataroot {root / name}"
            return f"{alone}; {_expected(mode, root)}"
    if _images_directly_in(root):
        return f"to translate them, type --model test; {_expected(mode, root)}"
    return _expected(mode, root)


def _for_mode(opt: Namespace, mode: str) -> str:
    """Return the flag that asks for another mode; a Pix2Pix would learn nonsense from images without a partner."""
    flag, model = _gan(opt)
    return f"--{flag} cycle_gan" if (model, mode) == ("pix2pix", "unaligned") else f"--dataset_mode {mode}"


def _made_for(opt: Namespace, mode: str) -> str:
    """Return an offer of the model that is made for a mode, for a training that another could do, too."""
    flag, model = _gan(opt)
    return f" (or --{flag} pix2pix, which is made for pairs)" if (model, mode) == ("cycle_gan", "aligned") else ""


def _gan(opt: Namespace) -> tuple[str, str | None]:
    """Return which flag names the GAN that is trained, and which it is."""
    if not opt.isTrain:
        return "model", None
    return ("base", opt.base) if getattr(opt, "base", None) else ("model", getattr(opt, "model", None))


def _expected(mode: str, root: Path) -> str:
    if mode == "unaligned":
        return f"to train, put the images of the two sides into {root / 'trainA'} and {root / 'trainB'}"
    if mode == "aligned":
        return f"to train, put files with A and B side by side into {root / 'train'}"
    return f"put images ({', '.join(extension[1:] for extension in IMG_EXTENSIONS)}) into {root}"


def _nearby(root: Path) -> str:
    parent = next(path for path in root.parents if path.is_dir())
    names = sorted(path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    if close := difflib.get_close_matches(root.relative_to(parent).parts[0], names, n=1, cutoff=0.6):
        return f"did you mean {parent / close[0]}?"
    there = f"{parent} holds {', '.join(names[:SHOWN]) or 'no folder'}"
    return f"{there}; the scripts in datasets/ download the usual sets, `python -m datasets.make_toy` makes one"


def _contents(directory: Path) -> str:
    """Say what a folder holds, sub-folders with their numbers of images."""
    folders = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [f"{printable(path.name)} ({len(make_dataset(path))} images)" for path in folders[:SHOWN]]
    if len(folders) > SHOWN:
        found.append(f"{len(folders) - SHOWN} more folders")
    files = sorted(path.name for path in directory.iterdir() if path.is_file())
    images = [name for name in files if is_image_file(name)]
    if images:
        found.append(f"{len(images)} images, such as {printable(images[0])}")
    elif files and not folders:
        found.append(f"only other files ({len(files)}), such as {printable(files[0])}")
    return ", ".join(found) or "nothing"


def _has(root: Path, name: str) -> bool:
    return (root / name).is_dir() and bool(make_dataset(root / name, 1))


def _images_directly_in(root: Path) -> bool:
    return any(is_image_file(path.name) and path.is_file() for path in root.iterdir())
