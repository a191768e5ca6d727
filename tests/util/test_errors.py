"""What is said to people instead of a traceback, and what keeps one."""

from __future__ import annotations

import errno

import pytest
import torch

from util.errors import UserError, for_people

FULL_GPU = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 7.79 GiB of which 1.2 GiB is free."
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("type\x1b this\nor that"), "type\\x1b this\nor that"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a\n.png"),
            "a\\n.png: No such file or directory",
        ),
        (
            torch.OutOfMemoryError(FULL_GPU),
            "CUDA out of memory. Tried to allocate 2.50 GiB; a smaller --batch_size or --crop_size takes less, and so does "
            "training with --amp bf16",
        ),
    ],
)
def test_what_a_person_can_mend_is_a_sentence(capsys: pytest.CaptureFixture[str], error: Exception, said: str) -> None:
    @for_people
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.parametrize(
    "error", [OSError(errno.EPIPE, "Broken pipe"), ValueError("a bug"), RuntimeError("CUDA error")]
)
def test_a_bug_of_ours_keeps_its_traceback(error: Exception) -> None:
    @for_people
    def main() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        main()
    assert raised.value is error
