"""Fetch a published dataset or model: go on where the last try stopped, check what came, replace nothing.

Only the standard library is used, so that it runs before anything is installed. POCKETGAN_MIRROR=<address> (http, https
or file) stands in for upstream's hosts; below it lie the same paths. The download scripts call this file.
"""

from __future__ import annotations

import gzip
import http.client
import os
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

if __package__ in (None, ""):  # run by its path, as the download scripts do
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from scripts.published import CITYSCAPES, COUNTS, HOST, KINDS, Kind, permission
from util.errors import UserError, for_people, nearest

SUFFIXES = {".jpg", ".jpeg", ".png"}
TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 20
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, UserError)


def addresses(kind: Kind, name: str) -> list[str]:
    """Return where to look, in order."""
    mirror = os.environ.get("POCKETGAN_MIRROR")
    found = [f"{(mirror or HOST).rstrip('/')}/{kind.path}"] + ([] if mirror else list(kind.mirrors))
    return [address.format(name=name) for address in found]


def fetch(urls: Sequence[str], target: Path, by_hand: Path) -> None:
    """Download the first address that answers to `target`, by way of `target`.part, which a later try goes on with.

    `by_hand` is where the error tells the user to put a file fetched elsewhere.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        try:
            _download(url, target)
            return
        except (URLError, OSError, http.client.HTTPException) as error:
            failures.append(f"{url} ({getattr(error, 'reason', None) or error})")
    part = target.with_name(f"{target.name}.part")
    kept = f"{part.stat().st_size:,} bytes are kept, so " if part.exists() and part.stat().st_size else ""
    raise UserError(
        f"{by_hand} was to be fetched; no address answered in full: {'; '.join(failures)}; {kept}type the same command "
        f"again when there is a connection; or fetch it on another machine, put it at {by_hand}, and type it then"
    )


def _download(url: str, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    have = part.stat().st_size if part.exists() else 0
    try:
        answer = urlopen(Request(url, headers={"Range": f"bytes={have}-"} if have else {}), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416:  # 416: nothing left after what we have
            raise
        if error.headers.get("Content-Range", "").rpartition("/")[2] != str(have):
            part.unlink()
            return _download(url, target)
        part.replace(target)
        return
    with answer:
        resumed = answer.status == 206
        have = have if resumed else 0  # a host without ranges sends everything again
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            for chunk in iter(lambda: answer.read(CHUNK), b""):
                file.write(chunk)
                have += len(chunk)
                _show(target.name, have, total)
    if total is not None and have != total:
        raise OSError(f"the connection broke after {have:,} of {total:,} bytes")
    part.replace(target)


def _show(name: str, have: int, total: int | None) -> None:
    """Show progress where a person is looking."""
    if sys.stderr.isatty():
        share = f" of {total / 1e6:.1f} MB ({have / total:.0%})" if total else " MB"
        sys.stderr.write(f"\r{name}: {have / 1e6:.1f}{share}" + ("\n" if have == total else ""))


def unpack(archive: Path, folder: Path) -> None:
    """Write the regular files of a zip or tar archive below `folder`, and nothing outside it."""
    root = folder.resolve()
    for name, content in _members(archive):
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise UserError(f"it holds {name}, which lies outside its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with content, path.open("wb") as file:
            shutil.copyfileobj(content, file)


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if not info.is_dir() and not info.filename.startswith("__MACOSX/"):
                    yield info.filename, opened.open(info)
        return
    with tarfile.open(archive) as opened_tar:
        for member in opened_tar:
            content = opened_tar.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name, content


def count_images(root: Path) -> dict[str, int]:
    """Return the number of images in each folder directly below `root`."""
    folders = (path for path in sorted(root.iterdir()) if path.is_dir()) if root.is_dir() else ()
    return {
        folder.name: sum(f.suffix.lower() in SUFFIXES and not f.name.startswith(".") for f in folder.iterdir())
        for folder in folders
    }


def differences(found: dict[str, int], expected: dict[str, int]) -> str:
    """Say where the counts differ, or return an empty string."""
    wrong = [f"{key} {found.get(key, 0)} of {count}" for key, count in expected.items() if found.get(key, 0) != count]
    return ", ".join(wrong)


def get_dataset(kind_name: str, name: str) -> str:
    """Fetch, unpack and check one set, unless it is there; return a line that sums it up."""
    kind, expected = KINDS[kind_name], COUNTS.get((kind_name, name), {})
    target = Path(kind.target.format(name=name))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        wrong = differences(count_images(target), expected)
        if wrong:
            raise UserError(
                f"{target} was to be made; it is there but holds {wrong} images; nothing was touched; move it away, or "
                f"delete it (rm -r {target}), then type the same command again"
            )
        return f"{target} is there{' and complete' if expected else ', not checked'}; nothing was fetched"
    archive = target.parent / Path(kind.path.format(name=name)).name
    by_hand = archive.exists()
    if not by_hand:
        fetch(addresses(kind, name), archive, archive)
    making = target.with_name(f".{name}.{os.getpid()}.part")
    try:
        unpack(archive, making)
        root = making / name if (making / name).is_dir() else making
        found = count_images(root)
        wrong = differences(found, expected) or ("" if sum(found.values()) else "no images")
        if wrong:
            raise UserError(f"it holds {wrong}")
        root.rename(target)
    except DAMAGED as error:
        raise UserError(
            f"{archive} was to be unpacked; {error}; so it is damaged or another set; nothing was made of it; "
            f"delete it (rm {archive}) and type the same command again"
        ) from None
    finally:
        shutil.rmtree(making, ignore_errors=True)
    if not by_hand:
        archive.unlink()
    listed = ", ".join(f"{folder} {count}" for folder, count in found.items())
    return f"{target}: {listed} ({'as expected' if expected else 'not checked: no count is known'})"


def get_model(kind_name: str, name: str) -> str:
    """Fetch and check one model's weights, unless they are there; return a line that sums it up."""
    kind = KINDS[kind_name]
    target = Path(kind.target.format(name=name))
    if target.exists():
        return f"{target} is there; nothing was fetched"
    loading = target.parent.with_name(f"{kind_name}_{name}.pth")
    fetch(addresses(kind, name), loading, target)
    with loading.open("rb") as file:
        start = file.read(2)
    if start not in (b"PK", b"\x80\x02"):  # torch.save's two formats: a zip, or a pickle
        loading.unlink()
        raise UserError(
            f"{target} was to be fetched; what came is no file of weights; type the same command again later"
        )
    target.parent.mkdir(exist_ok=True)
    loading.replace(target)
    return f"{target}: {target.stat().st_size:,} bytes"


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Fetch what the command line names: a kind and a name."""
    kind_name, name, *_ = [*(sys.argv[1:] if argv is None else argv), "", ""]
    kind = KINDS[kind_name]
    offered = [known for known in kind.names if known != "mini_colorization"]  # there is no model here to train on it
    known = f"the {kind.noun}s are: {', '.join(offered)}"
    if name in ("-h", "--help"):
        print(f"Give one name; {known}")
        return
    if name not in kind.names:
        hint = f" ({near})" if (near := nearest(name, offered)).startswith("did you mean") else ""
        asked = f"{name} was asked for; there is no such {kind.noun}{hint}"
        raise UserError(f"{asked if name else f'no {kind.noun} was named'}; {known}")
    if kind.noun == "dataset" and name == "cityscapes":
        raise UserError(CITYSCAPES)
    print(f"{name}: {permission(kind_name, name)}.", flush=True)
    if name == "mini_colorization":
        print("Note: the colorization model itself is not part of PocketGAN.", flush=True)
    try:
        print(get_dataset(kind_name, name) if kind.noun == "dataset" else get_model(kind_name, name))
    except KeyboardInterrupt:
        raise UserError(f"{name} was stopped; type the same command again: it goes on where it stopped") from None
    except OSError as error:
        raise UserError(f"{name} was to be fetched; the file system refused: {error}; then type it again") from None


if __name__ == "__main__":
    main()
