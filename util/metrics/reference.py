"""What is known about the real images: their features, kept between runs, or the moments in a pytorch-fid file."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from util.errors import UserError
from util.files import replacing
from util.metrics.evidence import Evidence
from util.metrics.features import Features
from util.metrics.frechet import Gaussian, gaussian_of_moments, gaussian_of_samples


@dataclass(frozen=True)
class Reference:
    """The real images' Gaussian, and their features where the images themselves are there."""

    gaussian: Gaussian
    features: Tensor | None
    words: str


def real_features(evidence: Evidence, features: Features) -> Tensor:
    """Return the real images' features, from the cache if the same network saw the same pixels before."""
    assert evidence.reals is not None
    reals = evidence.reals
    key = hashlib.sha256(f"{reals.content} {features.weights} {features.words}".encode()).hexdigest()
    path = statistics_cache() / f"{key}.npy"
    if path.is_file():
        return torch.from_numpy(np.load(path, allow_pickle=False))
    found = features.of(reals, evidence.opt.batch_size, evidence.device)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, found.numpy(), allow_pickle=False)
    except OSError as error:
        evidence.note(f"the real images' features could not be kept for the next time ({error})")
    return found


def statistics_cache() -> Path:
    """Return the folder of kept features: beside torch's fetched weights, one file per set of pixels and network."""
    return Path(torch.hub.get_dir()) / "pocketgan"


def reference(evidence: Evidence, features: Features) -> Reference:
    """Return what `--real_stats` says about the real images, or else what they say themselves."""
    if evidence.opt.real_stats:
        path = Path(evidence.opt.real_stats)
        return Reference(read_statistics(path, features.dims), None, f"reals from {path.name}")
    known = real_features(evidence, features)
    gaussian = gaussian_of_samples(known)
    if evidence.opt.save_real_stats:
        write_statistics(Path(evidence.opt.save_real_stats), gaussian)
    return Reference(gaussian, known, f"reals {evidence.reference}")


def read_statistics(path: Path, dims: int) -> Gaussian:
    """Read pytorch-fid's npz: mu (D,) and sigma (D, D)."""
    if not path.is_file():
        raise UserError(f"--real_stats {path} does not exist; --save_real_stats FILE writes one")
    try:
        with np.load(path, allow_pickle=False) as file:
            mean, covariance = (
                torch.from_numpy(np.atleast_1d(file[name]).astype(np.float64)) for name in ("mu", "sigma")
            )
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"--real_stats {path} is no file of pytorch-fid's statistics, mu and sigma ({error}); "
            "--save_real_stats FILE writes one"
        ) from None
    if mean.shape != (dims,) or covariance.shape != (dims, dims):
        raise UserError(
            f"--real_stats {path} holds statistics of {len(mean)} features, and the network here has {dims}; "
            "it was made with other --features or --dims"
        )
    return gaussian_of_moments(mean, covariance)


def write_statistics(path: Path, gaussian: Gaussian) -> None:
    """Write pytorch-fid's npz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, mu=gaussian.mean.numpy(), sigma=gaussian.covariance.numpy())
