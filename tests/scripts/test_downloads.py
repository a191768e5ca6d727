"""The download scripts fetch, resume, check and refuse, against a host this test serves on the loopback."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts.published import KINDS

ROOT = Path(__file__).resolve().parents[2]
FACADES = {"trainA": 400, "trainB": 400, "testA": 106, "testB": 106}
FACADES_ZIP = "/cyclegan/datasets/facades.zip"
WEIGHTS = b"PK" + bytes(range(256)) * 40


class Host:
    """A small web host: files by path, what was asked of it, and whether it knows ranges."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.ranges = True
        self.break_after: int | None = None
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                host.asked.append((self.path, wanted))
                if self.path not in host.files:
                    self.send_error(404)
                    return
                body = host.files[self.path]
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and host.ranges else 0
                if start and start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                self.wfile.write(body[start:] if host.break_after is None else body[start:][: host.break_after])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    thread = threading.Thread(target=host.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield host
    host.server.shutdown()
    host.server.server_close()


def zipped(name: str, counts: dict[str, int]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"__MACOSX/{name}/._x.jpg", b"")
        for folder, count in counts.items():
            for index in range(count):
                archive.writestr(f"{name}/{folder}/{index}.jpg", f"{folder} {index}")
    return packed.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def run(script: str, name: str, folder: Path, mirror: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"POCKETGAN_MIRROR": mirror, "no_proxy": "*", "NO_PROXY": "*"}
    command = ["bash", str(ROOT / script), *([name] if name else [])]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def cyclegan(name: str, folder: Path, mirror: str) -> subprocess.CompletedProcess[str]:
    return run("datasets/download_cyclegan_dataset.sh", name, folder, mirror)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    return done.stderr


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_set_is_fetched_checked_and_not_fetched_again(host: Host, tmp_path: Path) -> None:
    host.files[FACADES_ZIP] = zipped("facades", FACADES)
    done = cyclegan("facades", tmp_path, host.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert "CMP Facade" in done.stdout
    assert "trainA 400, trainB 400 (as expected)" in done.stdout
    assert (tmp_path / "datasets/facades/testB/105.jpg").read_text() == "testB 105"
    assert len(names(tmp_path)) == sum(FACADES.values())
    again = cyclegan("facades", tmp_path, host.address)
    assert again.returncode == 0
    assert "nothing was fetched" in again.stdout
    assert len(host.asked) == 1


def test_half_a_file_is_gone_on_with(host: Host, tmp_path: Path) -> None:
    packed = host.files[FACADES_ZIP] = zipped("facades", FACADES)
    host.break_after = len(packed) // 2
    said = refused(cyclegan("facades", tmp_path, host.address))
    assert "the connection broke" in said
    assert f"{len(packed) // 2:,} bytes are kept" in said
    assert names(tmp_path) == ["datasets/facades.zip.part"]
    host.break_after = None
    assert cyclegan("facades", tmp_path, host.address).returncode == 0
    assert host.asked == [(FACADES_ZIP, None), (FACADES_ZIP, f"bytes={len(packed) // 2}-")]
    assert len(names(tmp_path)) == sum(FACADES.values())


@pytest.mark.parametrize("state", ["whole", "too long", "a host without ranges"])
def test_a_part_that_can_not_be_gone_on_with(host: Host, tmp_path: Path, state: str) -> None:
    packed = host.files[FACADES_ZIP] = zipped("facades", FACADES)
    part = tmp_path / "datasets/facades.zip.part"
    part.parent.mkdir()
    part.write_bytes({"whole": packed, "too long": packed + b"more"}.get(state, packed[:500]))
    host.ranges = state != "a host without ranges"
    assert cyclegan("facades", tmp_path, host.address).returncode == 0
    assert len(host.asked) == (2 if state == "too long" else 1)
    assert len(names(tmp_path)) == sum(FACADES.values())


def test_a_wrong_count_is_refused(host: Host, tmp_path: Path) -> None:
    host.files[FACADES_ZIP] = zipped("facades", FACADES | {"trainB": 399})
    said = refused(cyclegan("facades", tmp_path, host.address))
    assert "trainB 399 of 400" in said
    assert "rm datasets/facades.zip" in said
    assert names(tmp_path) == ["datasets/facades.zip"]


def test_an_incomplete_folder_is_named_and_not_touched(host: Host, tmp_path: Path) -> None:
    (tmp_path / "datasets/facades/trainA").mkdir(parents=True)
    (tmp_path / "datasets/facades/trainA/mine.jpg").write_bytes(b"mine")
    said = refused(cyclegan("facades", tmp_path, host.address))
    assert "trainA 1 of 400" in said
    assert names(tmp_path) == ["datasets/facades/trainA/mine.jpg"]
    assert not host.asked


def test_a_damaged_archive_is_refused(host: Host, tmp_path: Path) -> None:
    host.files[FACADES_ZIP] = b"<html>moved</html>"
    assert "damaged" in refused(cyclegan("facades", tmp_path, host.address))
    host.files["/pix2pix/datasets/night2day.tar.gz"] = tarred({"night2day/train/0.jpg": b"x" * 9999})[:-20]
    said = refused(run("datasets/download_pix2pix_dataset.sh", "night2day", tmp_path, host.address))
    assert "damaged" in said
    assert not [path for path in (tmp_path / "datasets").iterdir() if path.is_dir()]


def test_an_archive_can_not_write_outside(host: Host, tmp_path: Path) -> None:
    host.files["/pix2pix/datasets/night2day.tar.gz"] = tarred({"night2day/train/0.jpg": b"x", "../../out.jpg": b"x"})
    said = refused(run("datasets/download_pix2pix_dataset.sh", "night2day", tmp_path, host.address))
    assert "outside" in said
    assert names(tmp_path) == ["datasets/night2day.tar.gz"]


def test_a_tar_without_a_known_count(host: Host, tmp_path: Path) -> None:
    host.files["/pix2pix/datasets/night2day.tar.gz"] = tarred({"night2day/train/0.jpg": b"x"})
    done = run("datasets/download_pix2pix_dataset.sh", "night2day", tmp_path, host.address)
    assert done.returncode == 0
    assert "not checked" in done.stdout
    assert names(tmp_path) == ["datasets/night2day/train/0.jpg"]


def test_an_archive_fetched_by_hand_is_used_and_kept(host: Host, tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/facades.zip").write_bytes(zipped("facades", FACADES))
    assert cyclegan("facades", tmp_path, host.address).returncode == 0
    assert not host.asked
    assert (tmp_path / "datasets/facades.zip").exists()


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("scripts/download_cyclegan_model.sh", "cyclegan/pretrained_models/sat2map.pth"),
        ("scripts/download_pix2pix_model.sh", "pix2pix/models-pytorch/sat2map.pth"),
    ],
)
def test_a_model_lands_where_test_py_looks(host: Host, tmp_path: Path, script: str, path: str) -> None:
    host.files[f"/{path}"] = WEIGHTS
    done = run(script, "sat2map", tmp_path, host.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert "research" in done.stdout
    assert names(tmp_path) == ["checkpoints/sat2map_pretrained/latest_net_G.pth"]
    assert (tmp_path / "checkpoints/sat2map_pretrained/latest_net_G.pth").read_bytes() == WEIGHTS
    assert "nothing was fetched" in run(script, "sat2map", tmp_path, host.address).stdout


def test_a_host_without_ranges_sends_a_model_again(host: Host, tmp_path: Path) -> None:
    host.files["/cyclegan/pretrained_models/horse2zebra.pth"] = WEIGHTS
    host.ranges = False
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/cyclegan_model_horse2zebra.pth.part").write_bytes(WEIGHTS[:99])
    assert run("scripts/download_cyclegan_model.sh", "horse2zebra", tmp_path, host.address).returncode == 0
    assert (tmp_path / "checkpoints/horse2zebra_pretrained/latest_net_G.pth").read_bytes() == WEIGHTS


def test_a_page_is_no_model(host: Host, tmp_path: Path) -> None:
    host.files["/cyclegan/pretrained_models/horse2zebra.pth"] = b"<html>"
    said = refused(run("scripts/download_cyclegan_model.sh", "horse2zebra", tmp_path, host.address))
    assert "no file of weights" in said
    assert names(tmp_path) == []


def test_a_folder_as_mirror(tmp_path: Path) -> None:
    (tmp_path / "mirror/cyclegan/pretrained_models").mkdir(parents=True)
    (tmp_path / "mirror/cyclegan/pretrained_models/horse2zebra.pth").write_bytes(WEIGHTS)
    (tmp_path / "work").mkdir()
    script, mirror = "scripts/download_cyclegan_model.sh", (tmp_path / "mirror").as_uri()
    assert run(script, "horse2zebra", tmp_path / "work", mirror).returncode == 0
    assert names(tmp_path / "work") == ["checkpoints/horse2zebra_pretrained/latest_net_G.pth"]


def test_without_network_the_error_says_what_to_do(host: Host, tmp_path: Path) -> None:
    host.server.server_close()  # the port is free again: nobody listens
    said = refused(cyclegan("facades", tmp_path, host.address))
    assert f"{host.address}{FACADES_ZIP}" in said
    assert "put it at datasets/facades.zip" in said
    said = refused(run("scripts/download_cyclegan_model.sh", "horse2zebra", tmp_path, host.address))
    assert "put it at checkpoints/horse2zebra_pretrained/latest_net_G.pth" in said
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["datasets/download_{}_dataset.sh", "scripts/download_{}_model.sh"])
@pytest.mark.parametrize("family", ["cyclegan", "pix2pix"])
def test_an_unknown_name_lists_the_names(tmp_path: Path, kind: str, family: str) -> None:
    offered = KINDS[f"{family}_{'dataset' if 'dataset' in kind else 'model'}"].names
    for name in ("nothing", ""):
        said = refused(run(kind.format(family), name, tmp_path, "http://127.0.0.1:9"))
        listed = said.strip().split(": ")[-1].split(", ")
        assert listed == [known for known in offered if known != "mini_colorization"]
        assert all(len(re.findall(rf"\b{known}\b", said)) == 1 for known in listed)
    assert names(tmp_path) == []


def test_cityscapes_explains_its_licence(tmp_path: Path) -> None:
    for family in ("cyclegan", "pix2pix"):
        said = refused(run(f"datasets/download_{family}_dataset.sh", "cityscapes", tmp_path, "http://127.0.0.1:9"))
        assert "https://www.cityscapes-dataset.com" in said
        assert "combine_A_and_B" in said


def test_every_script_is_valid_bash() -> None:
    for script in [*ROOT.glob("datasets/download_*.sh"), *ROOT.glob("scripts/download_*.sh")]:
        assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
        assert os.access(script, os.X_OK)
