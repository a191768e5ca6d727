"""The iterable that train.py and test.py draw batches from."""

from __future__ import annotations

import math
import os
import signal
import threading
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from data.sampling import WHOLE, KeyedDataset, PassSampler, Share, collate
from util.errors import UserError


class Loader:
    """Iterate over a dataset's batches; each iteration is one pass, with an order and randomness of its own.

    Pass number n is the same whatever came before it, however many workers make it and wherever it starts, so a run
    that is resumed at pass n, position p reads what an uninterrupted one would have read. Positions and the length
    count the images of all processes; of every batch, each loads its `share`.
    """

    def __init__(self, dataset: Any, opt: Namespace, share: Share = WHOLE) -> None:
        self.dataset = dataset
        self.length = len(dataset) if opt.max_dataset_size < 0 else int(min(len(dataset), opt.max_dataset_size))
        if self.length == 0:
            raise UserError(f"--dataset_mode {opt.dataset_mode} found no image in {opt.dataroot}")
        if self.length < share.processes:
            fitting = f"--nproc_per_node={self.length}"
            raise UserError(f"{opt.dataroot} has {self.length} images for {share.processes} processes; type {fitting}")
        seed = getattr(opt, "seed", 0) or 0
        self.sampler = PassSampler(self.length, seed, shuffle=not opt.serial_batches, share=share)
        self.length -= self.length % share.processes
        self.next_pass, self.next_start = 0, 0
        # more workers than processors or batches only cost memory; torchrun tells how many processes share the machine
        processors = max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
        workers = min(opt.num_threads, processors, math.ceil(self.length / (share.processes * opt.batch_size)))
        self.dataloader: DataLoader[Any] = DataLoader(
            KeyedDataset(dataset, seed),
            batch_size=opt.batch_size,
            sampler=self.sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=bool(getattr(opt, "gpu_ids", [])) and torch.cuda.is_available(),
            collate_fn=collate,
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # its own: starting a pass would otherwise draw from the process's generator
        )

    def __len__(self) -> int:
        """Return the number of images in a pass."""
        return self.length

    def set_pass(self, epoch_key: int, start: int = 0) -> None:
        """Choose the next iteration's pass, and the sample to start at (a multiple of all processes' batch).

        An iteration that was not told takes the pass after the last one, from its start.
        """
        self.next_pass, self.next_start = epoch_key, start

    def __iter__(self) -> Iterator[Any]:
        self.sampler.pass_key, self.sampler.start = self.next_pass, self.next_start
        self.next_pass, self.next_start = self.next_pass + 1, 0
        try:
            for batch in self.dataloader:
                if isinstance(batch, UserError):
                    raise batch
                yield batch
        except RuntimeError as error:
            if "DataLoader worker" in str(error) and "exited unexpectedly" in str(error):
                raise UserError(
                    f"a process that loads images was ended from outside ({error}), as happens when memory or /dev/shm "
                    "runs out; type --num_threads 0, or give the container more shared memory"
                ) from error
            raise


def _start_worker(_: int) -> None:
    # Ctrl-C reaches every process of the terminal; only the main one shall speak, and it ends its workers.
    # (PyTorch itself limits a worker to one thread.)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # So does a SIGTERM to a process group or to all processes of a job: the main one still has a step to finish.
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_the_parent_says_so, daemon=True).start()


def _end_when_the_parent_says_so() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
