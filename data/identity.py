"""Whether a data folder is still the one that a run was saved with: the order of its images depends on their number."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from util.errors import UserError


def identity(dataset: Any) -> dict[str, Any]:
    """Return the length of a pass, the number of images per folder, and a hash of their names, in plain types."""
    folders = getattr(getattr(dataset, "dataset", dataset), "folders", [])
    names = [[str(Path(path).relative_to(folder.directory)) for path in folder.paths] for folder in folders]
    digest = hashlib.sha256(repr(names).encode()).hexdigest()
    return {"length": len(dataset), "counts": [len(part) for part in names], "names": digest}


def refuse_other_images(dataset: Any, saved: dict[str, Any] | None) -> None:
    """Refuse to go on with other images than those of the saved `identity`; None = it was not saved."""
    now = identity(dataset)
    if saved is None or saved == now:
        return
    what = f"{_counts(saved)} images when the run was saved, and {_counts(now)} now"
    if saved["counts"] == now["counts"] and saved["length"] == now["length"]:
        what = f"{_counts(now)} images as when the run was saved, but under other names"
    raise UserError(
        f"--continue_train: the data has {what}. The run stands in the middle of an order of those images: put them "
        "back (--dataroot, --max_dataset_size, --holdout), or start a run of its own with another --name"
    )


def _counts(of: dict[str, Any]) -> str:
    return " + ".join(map(str, of["counts"])) or str(of["length"])
