"""Several processes that train one model (`torchrun train.py …`): who is who, and what they tell one another."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from util.errors import UserError, in_words
from util.randomness import seed_everything

T = TypeVar("T")
TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = 5.0  # seconds that a process has to end by itself once another one has failed
SAME = 1e-6  # relative; copies of a network that were updated alike differ by far less, others by far more


def rank() -> int:
    """Return this process's number; 0 where there is only one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Tell whether this is the process that writes and speaks."""
    return rank() == 0


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Be one of the processes that torchrun started, if it did; those after the first keep quiet.

    Whichever fails first says why, and the others end without a word.
    """
    if not all(name in os.environ for name in TORCHRUN) or int(os.environ["WORLD_SIZE"]) == 1:
        yield
        return
    store, number, count = next(dist.rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=dist.PrefixStore("training", store), rank=number, world_size=count)
    messages = dist.PrefixStore("messages", store)
    left = threading.Event()
    threading.Thread(target=_end_with_the_others, args=(messages.clone(), left), daemon=True).start()
    with contextlib.ExitStack() as silence:
        silence.callback(left.set)
        if number > 0:
            nowhere = silence.enter_context(Path(os.devnull).open("w"))
            silence.enter_context(contextlib.redirect_stdout(nowhere))
        try:
            yield
        except Exception as error:
            raise SystemExit(_say_once(error, messages)) from None
        except SystemExit:  # all of them stop, as they were asked to
            _leave()
            raise
        _leave()


def _end_with_the_others(messages: dist.Store, left: threading.Event) -> None:
    """End this process some seconds after another one has said why it ended, unless it has `left` by itself.

    One that waits on its GPU for the process that is gone hears no signal, and would outlive torchrun's by half a minute.
    """
    with contextlib.suppress(RuntimeError):  # the store may be gone, with the machine that held it
        while not left.wait(1):
            if messages.check(["said"]):
                if not left.wait(PATIENCE):
                    os._exit(1)
                return


def _leave() -> None:
    dist.barrier()  # the first may still be writing, and torchrun ends it when another ends with an exit code
    dist.destroy_process_group()


def _say_once(error: Exception, messages: dist.Store) -> int:
    """Say what went wrong unless another process failed before; return the exit code.

    Whoever comes second waits for the first to have spoken: torchrun ends all processes as soon as one has ended.
    """
    words = in_words(error)
    code = 1 if words is None else 2
    with contextlib.suppress(RuntimeError):  # the store may be gone, with the machine that held it
        if messages.add("failed", 1) > 1:
            messages.wait(["said"], timedelta(seconds=10))
            return code
    below_the_bar = "" if is_first() else "\n"  # the first process has closed it, another one can't
    if words is not None:
        print(f"{below_the_bar}error: {words}", file=sys.stderr, flush=True)
    elif isinstance(error, RuntimeError) and "by peer" in str(error):
        print(
            f"{below_the_bar}error: another process of this training was ended from outside, as happens when memory runs "
            "out; what torchrun says below tells which one",
            file=sys.stderr,
            flush=True,
        )
    else:
        print(below_the_bar + "".join(traceback.format_exception(error)), file=sys.stderr, flush=True)
    with contextlib.suppress(RuntimeError):
        messages.set("said", "yes")
    return code


def own_device(ids: list[int]) -> list[int]:
    """Return the GPU of this process alone, where several share a machine: of those asked for, or simply the next.

    `[0]`, the default, asks for as many as there are processes.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if world_size() > 1 else 1
    if processes == 1:
        return ids
    wanted = list(range(processes)) if ids == [0] else ids
    found = torch.cuda.device_count()
    if len(wanted) < processes or processes > found:
        enough = min(found, len(wanted))
        raise UserError(
            f"{processes} processes on this machine, with {found} GPUs and --gpu_ids {','.join(map(str, ids))}: each "
            f"needs one of its own; type --nproc_per_node={enough}, or --gpu_ids -1 for CPUs"
        )
    return [wanted[int(os.environ.get("LOCAL_RANK", 0))]]


def part_ways(seed: int) -> None:
    """Have processes that drew the same weights draw different numbers from now on (dropout), but for the first."""
    if not is_first():
        seed_everything(seed + rank())


def refuse_other_number(saved: int, name: str) -> None:
    """Refuse to go on with a run that another number of processes trained: nobody could take up their randomness."""
    if saved != world_size():
        program, *flags = start_words(saved)
        command = f"torchrun with {saved} processes in all ({' '.join(flags)})" if flags else program
        raise UserError(
            f"--continue_train: {name} was trained by {_processes(saved)}, and this is {_processes(world_size())}; its "
            f"batches, pools and randomness are made for as many: start train.py with {command}"
        )


def start_words(processes: int) -> list[str]:
    """Return what starts so many processes; where several machines train now, as many on each of them as now."""
    if processes == 1:
        return ["python"]
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))
    machines = processes // here if here < world_size() and processes % here == 0 else 1
    nodes = [f"--nnodes={machines}"] if machines > 1 else []
    return ["torchrun", *nodes, f"--nproc_per_node={processes // machines}"]


def _processes(number: int) -> str:
    return "one process" if number == 1 else f"{number} processes"


def from_first(value: T) -> T:
    """Return the first process's value in all of them."""
    values = [value]
    if world_size() > 1:
        dist.broadcast_object_list(values, src=0)
    return values[0]


def gather(value: T) -> list[T]:
    """Return the values of all processes in the first, by number; nothing in the others."""
    if world_size() == 1:
        return [value]
    values: list[Any] | None = [None] * world_size() if is_first() else None
    dist.gather_object(value, values, dst=0)
    return values or []


def anyone(*flags: bool) -> list[bool]:
    """Return for each flag whether any process has it set; all hear the same. On CPUs: no GPU waits for it."""
    if world_size() == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(votes)
    return [vote > 0 for vote in votes.tolist()]


def mean(losses: Mapping[str, float]) -> dict[str, float]:
    """Return the mean of each loss over the processes."""
    if world_size() == 1 or not losses:
        return dict(losses)
    values = torch.tensor(list(losses.values()), dtype=torch.float64)
    dist.all_reduce(values)
    return dict(zip(losses, (values / world_size()).tolist(), strict=True))


@torch.no_grad()
def refuse_drift(networks: Mapping[str, nn.Module]) -> None:
    """Raise if the processes' copies of a network differ; wait for all of them to come here."""
    if world_size() == 1:
        return
    sums = [sum(_size(parameter) for parameter in network.parameters()) for network in networks.values()]
    most = torch.tensor([float(total) for total in sums], dtype=torch.float64)
    least = most.clone()
    dist.all_reduce(most, dist.ReduceOp.MAX)
    dist.all_reduce(least, dist.ReduceOp.MIN)
    apart = [name for name, a, b in zip(networks, most.tolist(), least.tolist(), strict=True) if a - b > SAME * a]
    if apart:
        raise UserError(
            f"training stopped: the processes' copies of network {', '.join(apart)} have drifted apart, so that some "
            "gradient was not shared; nothing is saved. Train this model with one process"
        )


def _size(parameter: Tensor) -> Tensor:
    return parameter.abs().sum(dtype=torch.float64)
