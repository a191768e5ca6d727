"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from util.errors import UserError

# No space, no quota, and the limit that `ulimit -f` sets.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# This machine in the names of temporary files: a host's own name may be long, and hold what no file's name can.
MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes `path`'s place if the block succeeds, and vanishes if not."""
    with replacing_all([path]) as (temporary,):
        yield temporary


@contextmanager
def replacing_all(paths: Iterable[str | os.PathLike[str]]) -> Iterator[list[Path]]:
    """Yield a temporary path beside each path; if the block succeeds they take the paths' places, in that order.

    Whatever needs space happens in the block, so a disk that fills up leaves all of the old files as they were.
    """
    wanted = [Path(path) for path in paths]
    temporary = [path.with_name(f".{path.name}.{MACHINE}.{os.getpid()}.tmp") for path in wanted]
    try:
        yield temporary
        for new, path in zip(temporary, wanted, strict=True):
            new.replace(path)
    finally:
        for new in temporary:
            new.unlink(missing_ok=True)


@contextmanager
def full_disk_is_said(path: Path, temporary: Path, size: int) -> Iterator[None]:
    """Turn "no space left", however deep it is hidden, into a sentence; `size` is what the file takes, in bytes."""
    try:
        yield
    except Exception as error:
        cause = next((link for link in _chain(error) if isinstance(link, OSError) and link.errno in FULL), None)
        if cause is None:
            raise
        temporary.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free
        raise UserError(
            f"{path} can't be written ({os.strerror(cause.errno or 0)}): it takes {size:,} bytes, and {free:,} are free "
            "there. What was saved before is untouched; make room (--keep_checkpoints N keeps the last N epochs only), "
            "then go on with --continue_train"
        ) from None


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, whole or not at all."""
    content = text.encode("utf-8")
    with replacing(path) as temporary, full_disk_is_said(Path(path), temporary, len(content)):
        temporary.write_bytes(content)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that processes of this machine left behind which were killed while they wrote.

    Whether a process of another machine, which shares the folder, still lives can't be known here.
    """
    for path in folder.rglob(".*.tmp"):
        process = re.fullmatch(rf"\..+\.{MACHINE}\.(\d+)\.tmp", path.name)
        if process and (int(process[1]) == os.getpid() or not _is_alive(int(process[1]))):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
