"""Apply a checkpoint to images: `python test.py --model test --name h2z --dataroot ./datasets/horse2zebra/testA`.

The pictures and a page of them go to results/<name>/<phase>_<epoch>/. The architecture comes from the training options.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from data import create_dataset
from models import create_model
from models.made_by import write_made_by
from models.networks import refuse_unknown_networks
from models.test_model import refuse_other_model
from options.base_options import read_saved_options, save_options
from options.checks import refuse_unknown_run
from options.test_options import TestOptions, network_mode
from util.errors import for_people
from util.html import HTML, save_images
from util.randomness import seed_everything


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Translate as the options say."""
    argv = sys.argv[1:] if argv is None else argv
    opt, saved = TestOptions().parse(argv), read_saved_options(argv)
    refuse_unknown_run(opt)
    refuse_unknown_networks(opt)
    seed_everything(opt.seed)
    opt.num_threads, opt.batch_size = 0, 1  # one image at a time, in order, as it is
    opt.serial_batches = opt.no_flip = True
    opt.display_id = -1
    dataset = create_dataset(opt)
    model = create_model(opt)
    print(f"model [{type(model).__name__}] was created")
    refuse_other_model(opt, model)
    print(model.setup(opt))
    if opt.eval:
        model.eval()
    print(f"network mode: {network_mode(opt)}{'' if opt.eval else '; --eval changes it'}")
    save_options(opt)
    epoch = f"{opt.epoch}_iter{opt.load_iter}" if opt.load_iter > 0 else opt.epoch
    web_dir = Path(opt.results_dir) / opt.name / f"{opt.phase}_{epoch}"
    webpage = HTML(web_dir, f"Experiment = {opt.name}, Phase = {opt.phase}, Epoch = {epoch}")
    write_made_by(web_dir, opt, saved, model, network_mode(opt))
    count = min(len(dataset), opt.num_test)
    if count < len(dataset):
        print(f"{count} of {len(dataset)} images; --num_test {len(dataset)} takes all")
    for i, data in enumerate(itertools.islice(dataset, count)):
        model.set_input(data)
        model.test()
        if i % 5 == 0:
            tqdm.write(f"processing ({i:04d})-th image... {model.get_image_paths()}")
        save_images(
            webpage, model.get_current_visuals(), model.get_image_paths(), opt.aspect_ratio, opt.display_winsize
        )
    webpage.save()
    print(f"the page is at {webpage.page}")


if __name__ == "__main__":
    main()
