"""FID is pytorch-fid's; other weights and dims are never called FID; real images are looked at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.error
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.judged_images import folder
from util.backbones import INCEPTION_FILE
from util.errors import UserError
from util.metrics import distribution, features
from util.metrics.evidence import Evidence
from util.metrics.kernel_distance import kernel_distance
from util.metrics.reference import read_statistics, statistics_cache

Pictures = Callable[..., Path]


def evidence(opt: Namespace, fakes: Path, reals: Path | None) -> Evidence:
    return Evidence(opt, folder(str(fakes)), folder(str(reals)) if reals else None, split="folder", reference="folder")


@pytest.fixture
def other(options: Namespace, inception_home: Path) -> Namespace:
    """Return options for the first 192 features of an Inception with other weights."""
    options.inception_weights = str(inception_home / "hub" / "checkpoints" / INCEPTION_FILE)
    options.accept_other_weights, options.dims = True, 192
    return options


def test_equals_pytorch_fids_command_line(
    other: Namespace, inception_home: Path, pictures: Pictures, tmp_path: Path
) -> None:
    fakes, reals = pictures("fakes", 5, 90, seed=1), pictures("reals", 6, 150, (40, 40), seed=2)
    command = [sys.executable, "-m", "pytorch_fid", str(fakes), str(reals), "--dims", "192", "--num-workers", "0"]
    environment = os.environ | {"TORCH_HOME": str(inception_home), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert "adding 1e-06" not in ended.stdout  # the branch that changes the number
    published = float(re.search(r"FID:\s+(\S+)", ended.stdout)[1])
    other.save_real_stats = str(tmp_path / "stats.npz")
    distance, kernel = distribution.fid(evidence(other, fakes, reals))
    assert distance.value == pytest.approx(published, rel=1e-4)
    assert (distance.metric, distance.count_fakes, distance.count_reals) == ("fd_192", 5, 6)
    assert kernel.metric == "kd_192" and kernel.spread is not None and "subsets of 2" in kernel.protocol

    from pytorch_fid.fid_score import compute_statistics_of_path

    mean, covariance = compute_statistics_of_path(other.save_real_stats, None, 1, 192, "cpu")  # pytorch-fid reads ours
    known = read_statistics(Path(other.save_real_stats), 192)
    assert np.allclose(known.mean, mean) and np.allclose(known.covariance, covariance, atol=1e-12)
    other.real_stats, other.save_real_stats = other.save_real_stats, None
    judged = evidence(other, fakes, None)
    (again,) = distribution.fid(judged)
    assert again.value == pytest.approx(distance.value, rel=1e-6) and "stats.npz" in again.protocol
    assert any("needs the real images themselves" in note for note in judged.notes)


def test_other_weights_are_refused_unless_accepted(other: Namespace) -> None:
    other.accept_other_weights = False
    with pytest.raises(UserError, match=r"SHA-256 begins with \w{8}, not with 6726825d.*FD and KD"):
        features.chosen(other, torch.device("cpu"))


def test_the_genuine_weights_are_called_fid(other: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    other.accept_other_weights = False
    monkeypatch.setattr(features, "sha256", lambda path: "6726825d" + 56 * "0")
    assert features.chosen(other, torch.device("cpu")).frechet == "fid_192"


def test_a_file_of_weights_is_known_by_what_it_holds(
    options: Namespace, squeezenet_file: Path, inception_home: Path, tmp_path: Path
) -> None:
    options.features, cpu = str(squeezenet_file), torch.device("cpu")
    assert features.chosen(options, cpu).kernel == "ksd"
    options.features, options.accept_other_weights = str(inception_home / "hub/checkpoints" / INCEPTION_FILE), True
    options.dims = 64
    assert features.chosen(options, cpu).kernel == "kd_64"
    torch.save({"weight": torch.zeros(1)}, tmp_path / "else.pth")
    options.features = str(tmp_path / "else.pth")
    with pytest.raises(UserError, match="neither Inception's nor SqueezeNet's"):
        features.chosen(options, cpu)


def test_without_network_the_file_and_its_place_are_named(options: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(UserError) as error:
        features.chosen(options, torch.device("cpu"))
    place = Path("torch", "hub", "checkpoints", INCEPTION_FILE)
    assert str(place) in str(error.value) and "--inception_weights FILE" in str(error.value)
    options.features = "squeezenet"
    with pytest.raises(UserError, match=r"squeezenet1_1-b8a52dc0\.pth"):
        features.chosen(options, torch.device("cpu"))


def test_squeezenets_numbers(options: Namespace, squeezenet_file: Path, pictures: Pictures) -> None:
    options.features = str(squeezenet_file)
    dark, light, dim = pictures("dark", 6, 40), pictures("light", 6, 200, seed=1), pictures("dim", 6, 42, seed=2)
    judged = evidence(options, dark, light)
    distance, kernel = distribution.fid(judged)
    assert (distance.metric, kernel.metric) == ("fsd", "ksd")
    network = features.chosen(options, torch.device("cpu"))
    fake, real = (network.of(folder(str(path)), 4, torch.device("cpu")) for path in (dark, light))
    assert fake.shape == (6, 512)
    assert kernel.value == pytest.approx(kernel_distance(fake, real), rel=1e-6)
    assert [one.value for one in distribution.ksd(judged)] == [kernel.value]
    assert any("FSD on 6 images is biased upwards" in note and "rank 5 of 512" in note for note in judged.notes)
    near = distribution.fid(evidence(options, dark, dim))
    assert near[0].value < distance.value / 3 and abs(near[1].value) < kernel.value / 3


@pytest.mark.parametrize("metric", ["fid", "kid", "fsd", "ksd"])
def test_images_too_small_for_squeezenet_are_refused(
    options: Namespace, squeezenet_file: Path, pictures: Pictures, metric: str
) -> None:
    options.features = str(squeezenet_file)
    fakes, reals = pictures("fakes", 3, size=(40, 8)), pictures("reals", 3)
    with pytest.raises(UserError, match=r"images of 40x8, their sides have to be 17 pixels or more; --size N resizes"):
        getattr(distribution, metric)(evidence(options, fakes, reals))


def test_the_batch_size_changes_nothing(options: Namespace, squeezenet_file: Path, pictures: Pictures) -> None:
    options.features = str(squeezenet_file)
    path = pictures("some", 5)
    network = features.chosen(options, torch.device("cpu"))
    one, three = (network.of(folder(str(path)), size, torch.device("cpu")) for size in (1, 3))
    assert torch.allclose(one, three, atol=1e-5)


def test_real_images_are_looked_at_once(
    options: Namespace, squeezenet_file: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    options.features = str(squeezenet_file)
    fakes, reals = pictures("fakes", 4), pictures("reals", 5, 90, seed=1)
    seen = []
    original = features.Features.of
    monkeypatch.setattr(
        features.Features, "of", lambda self, images, *rest: seen.append(images.where) or original(self, images, *rest)
    )
    first = distribution.fid(evidence(options, fakes, reals))
    assert seen == [str(reals), str(fakes)] and len(list(statistics_cache().glob("*.npy"))) == 1
    second = distribution.fid(evidence(options, fakes, reals))
    assert seen[2:] == [str(fakes)]
    assert [one.value for one in first] == [one.value for one in second]
    (reals / "0.png").unlink()  # other pixels are other statistics
    distribution.fid(evidence(options, fakes, reals))
    assert seen[3:] == [str(reals), str(fakes)]


def test_mixed_resolutions_are_said(options: Namespace, squeezenet_file: Path, pictures: Pictures) -> None:
    options.features = str(squeezenet_file)
    fakes, reals = pictures("fakes", 3), pictures("reals", 3, size=(48, 40))
    (pictures("others", 1, size=(64, 33)) / "0.png").replace(fakes / "9.png")
    judged = evidence(options, fakes, reals)
    assert distribution.ksd(judged)[0].resolution is None
    assert any("images of 2 sizes (32x32, 64x33" in note for note in judged.notes)
    (fakes / "9.png").unlink()
    judged = evidence(options, fakes, reals)
    distribution.ksd(judged)
    assert any("the fakes are 32x32 and the reals 48x40" in note for note in judged.notes)


def test_too_few_images(options: Namespace, squeezenet_file: Path, pictures: Pictures) -> None:
    options.features = str(squeezenet_file)
    with pytest.raises(UserError, match="needs 2 images of each kind; there are 1 in"):
        distribution.ksd(evidence(options, pictures("fakes", 1), pictures("reals", 3)))


@pytest.mark.parametrize("content", ["nothing", "text", "other keys", "other dims"])
def test_statistics_that_can_not_be_used(content: str, tmp_path: Path) -> None:
    path = tmp_path / "stats.npz"
    if content == "text":
        path.write_text("no zip")
    elif content == "other keys":
        np.savez(path, mean=np.zeros(3))
    elif content == "other dims":
        np.savez(path, mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(UserError, match=r"stats\.npz"):
        read_statistics(path, 192)
