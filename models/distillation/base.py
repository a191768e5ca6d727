"""Which base model (cycle_gan or pix2pix) a distilling model is built over, and how the data folder tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from util.errors import UserError
from util.plugin_manager import plugin_manager


def add_base_options(parser: Any, is_train: bool) -> Any:
    """Add `--base` and the base model's own flags; take the base from the data folder when it is not typed."""
    parser.add_argument(
        "--base", default=None, help="the GAN that is distilled: cycle_gan | pix2pix (default: by dataroot)"
    )
    options = parser.peek()
    base = options.base
    if base is None:
        base, reason = base_of(options.dataroot, options.phase)
        parser.notes.append(f"base model: {base} ({reason}; --base chooses another)")
    model = plugin_manager().get("models", base)
    if not model.directions:
        raise UserError(f"--base {base} offers no translation to distil; cycle_gan and pix2pix do")
    model.modify_commandline_options(parser, is_train)
    parser.set_defaults(base=base)
    return parser


def base_of(dataroot: str | None, phase: str) -> tuple[str, str]:
    """Return the base model that fits a data folder, and why."""
    folder = Path(dataroot or "")
    if dataroot and (folder / f"{phase}A").is_dir():
        return "cycle_gan", f"{folder} has {phase}A, so the data is unpaired"
    if dataroot and (folder / phase).is_dir():
        return "pix2pix", f"{folder} has {phase}, so the data is paired"
    return "cycle_gan", "the data folder does not tell"
