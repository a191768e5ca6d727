"""Batches do not depend on workers or on where a pass starts, and errors arrive as sentences."""

from __future__ import annotations

import pickle
import random
import signal

import numpy as np
import pytest
import torch

from data.loader import Loader
from data.unaligned_dataset import UnalignedDataset
from util.errors import UserError


def load(opt, *passes: tuple[int, int]) -> list[list[dict]]:
    loader = Loader(UnalignedDataset(opt), opt)
    taken = []
    for epoch_key, start in passes or [(0, 0)]:
        loader.set_pass(epoch_key, start)
        taken.append(list(loader))
    return taken


def same(batches: list[dict], others: list[dict]) -> bool:
    return len(batches) == len(others) and all(
        torch.equal(a["A"], b["A"]) and torch.equal(a["B"], b["B"]) and a["B_paths"] == b["B_paths"]
        for a, b in zip(batches, others, strict=True)
    )


def test_batches_do_not_depend_on_workers(horses, options):
    passes = [(1, 0), (2, 2), (1, 0)]
    alone = load(options(batch_size=2), *passes)
    shared = load(options(batch_size=2, num_threads=2), *passes)
    assert all(same(a, b) for a, b in zip(alone, shared, strict=True))
    assert same(alone[0], alone[2])
    assert not same(alone[0], alone[1])


def test_workers_can_be_started_afresh(horses, options):
    # Python 3.14 starts them so, from pickles, instead of forking.
    opt = options()
    dataset = UnalignedDataset(opt)
    assert same(list(Loader(pickle.loads(pickle.dumps(dataset)), opt)), list(Loader(dataset, opt)))


def test_resumed_pass_is_the_tail_of_a_whole_one(horses, options):
    whole, tail = load(options(batch_size=2), (3, 0), (3, 4))
    assert same(tail, whole[2:])


def test_untold_passes_follow_each_other(horses, options):
    opt = options()
    loader = Loader(UnalignedDataset(opt), opt)
    loader.set_pass(5, start=3)
    following = [list(loader), list(loader)]
    assert all(same(a, b) for a, b in zip(following, load(opt, (5, 3), (6, 0)), strict=True))


def test_a_pass_left_early_does_not_disturb_the_next(horses, options):
    opt = options(num_threads=1)
    loader = Loader(UnalignedDataset(opt), opt)
    for _ in loader:
        break
    assert same(list(loader), load(opt, (1, 0))[0])


def test_seed_changes_order_crops_and_partners(horses, options):
    assert not same(load(options(seed=1))[0], load(options(seed=2))[0])


@pytest.mark.parametrize("num_threads", [0, 1])
def test_process_randomness_is_untouched(horses, options, num_threads):
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    load(options(num_threads=num_threads))
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_length_counts_images_and_last_batch_is_kept(horses, options):
    opt = options(batch_size=3)
    loader = Loader(UnalignedDataset(opt), opt)
    assert len(loader) == 7
    assert [len(batch["A"]) for batch in loader] == [3, 3, 1]


class Numbers(torch.utils.data.Dataset):
    """A dataset that knows nothing of our options."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        if index == 9:
            raise UserError("nine is out")
        return index


@pytest.mark.parametrize(("limit", "length"), [(4, 4), (99, 10), (-1, 10), (float("inf"), 10)])
def test_limit_holds_for_any_dataset(options, limit, length):
    assert len(Loader(Numbers(), options(max_dataset_size=limit))) == length


@pytest.mark.parametrize("num_threads", [0, 2])
def test_error_of_a_worker_is_its_sentence(options, num_threads):
    with pytest.raises(UserError) as caught:
        list(Loader(Numbers(), options(num_threads=num_threads, batch_size=4)))
    assert str(caught.value) == "nine is out"


class Patience(torch.utils.data.Dataset):
    """Tell what a worker does about Ctrl-C."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> bool:
        return signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_workers_ignore_ctrl_c(options):
    assert [bool(batch) for batch in Loader(Patience(), options(num_threads=1))] == [True]
    assert [bool(batch) for batch in Loader(Patience(), options(num_threads=0))] == [False]


class Dying(Patience):
    """End the worker as the system does when memory runs out."""

    def __getitem__(self, index: int) -> bool:
        signal.raise_signal(signal.SIGKILL)
        return False


def test_killed_worker_is_explained(options):
    with pytest.raises(UserError, match="--num_threads 0"):
        list(Loader(Dying(), options(num_threads=1)))


def test_sizes_that_do_not_stack_are_refused_at_once(horses, photo, options):
    photo("trainA/wide.png", (60, 24))
    with pytest.raises(UserError, match=r"--preprocess none makes images of 2 sizes .*24x24 … 60x24"):
        UnalignedDataset(options(preprocess="none", batch_size=2))
    assert len(UnalignedDataset(options(preprocess="none"))) == 8
    assert len(UnalignedDataset(options(preprocess="crop", batch_size=2))) == 8


class Threads(Patience):
    """Tell on how many threads a worker computes."""

    def __getitem__(self, index: int) -> int:
        return torch.get_num_threads()


def test_workers_compute_on_one_thread_each(options):
    # two pools of threads that wait for the same processors slow each other tenfold
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert [int(batch) for batch in Loader(Threads(), options(num_threads=1))] == [1]
        assert [int(batch) for batch in Loader(Threads(), options(num_threads=0))] == [2]
    finally:
        torch.set_num_threads(before)
