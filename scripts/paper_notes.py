"""What docs/papers.md says in words, around its tables."""

from __future__ import annotations

HEAD = """# The papers' numbers as commands

Written by `python -m scripts.paper_rows`; the numbers are in `scripts/paper_results.csv`. Each of the {rows} numbers in
the tables of four papers stands here once: {run} with commands to train and test ({gated} of them need your own copy
of Cityscapes), the {scored} FIDs among them with one to score, too; {not_run} with the reason why there are none.
`python -m scripts.paper_rows --paper crd --table 4` prints a table's commands as a shell script, teachers included.

**These are the papers' numbers, not ours**: nothing here was measured by this project. ReKo reports 8 trials; the
others report no spread, and the published code of CRD and DCD keeps the best of many checkpoints by its score on the
test images. Don't expect to meet a number by typing its row once.

- A run is named once, and its commands stand under the table that has it first; other rows name it and that table. A
  `--teacher NAME` is trained by the command that has `--name NAME`.
- `test.py` makes pictures, of every test image. `evaluate.py` translates them once more and prints the FID of each
  direction that was learned ([evaluation.md](evaluation.md)).
- What the printed scores compare with: in the code that CRD and DCD build on, the real test images (paired) or all real
  images of the target domain, training set included (unpaired: `--protocol train+test`). ReKo does not tell; the test
  images are taken. The scores on Cityscapes come from segmentation networks that are not here: bring one, and
  `evaluate.py --metrics miou` asks it.
- What a command does not type is the method's default: [reko](reko.md), [portable](portable.md), [dcd](dcd.md),
  [crd](crd.md).
- M: millions of weights. G: 1e9 multiply-accumulates, as printed, and of one 256x256 image as counted here in three
  ways: **true** · **paper** (a transposed convolution counted at its output's size, four times too much) ·
  **no_transposed** (left out). The count within 1 % of the printed one is bold, and "counted" names it: numbers that
  were counted in different ways can't be compared. Empty: a network that is not here, or nothing printed.

| data | how it comes to `./datasets` |
|---|---|
| horse2zebra, zebra2horse | `bash ./datasets/download_cyclegan_dataset.sh horse2zebra` |
| summer2winter | `bash ./datasets/download_cyclegan_dataset.sh summer2winter_yosemite` |
| edges2shoes | `bash ./datasets/download_pix2pix_dataset.sh edges2shoes` |
| cityscapes | only by yourself: `bash ./datasets/download_pix2pix_dataset.sh cityscapes` says how |

In cityscapes photographs are A and label maps are B. CycleGAN's rows read them as single images, from `trainA`, `trainB`,
`testA` and `testB` of the same folder."""

PAPERS = {
    "reko": """## ReKo

Zhang et al., Region-aware Knowledge Distillation for Efficient Image-to-Image Translation (arXiv 2205.12451). 200
epochs. The printed numbers are means and standard deviations of 8 trials: repeat with `--seed` and another `--name`.
The weights of the other methods are not told; "Hinton et al." is the L1 distance between the student's and the
teacher's images, here with weight 10.""",
    "portable": """## Portable GAN

Chen et al., Distilling Portable Generative Adversarial Networks for Image Translation (AAAI 2020). 200 epochs, batch 1;
for Pix2Pix the weight of the truth is 1, so teacher and students alone are runs of their own, `truth1`. Labels are
translated to photographs. The U-Net is tested as it is trained, but without dropout. The weights of the four losses are
not told.""",
    "dcd": """## DCD

Hu et al., Discriminator-Cooperated Feature Map Distillation for GAN Compression (CVPR 2023). "100 epochs, linearly
decayed": `--n_epochs 0 --n_epochs_decay 100`. As in the published code, the unpaired teacher that is trained beside the
student is a mobile ResNet (1.987 M; 18.31 G by "paper"), not the "Original", to which the paper's ratios are taken. The
originals are trained and tested as upstream does, 200 epochs.""",
    "crd": """## CRD

You et al., Exploring Content Relationships for Distilling Efficient GANs (arXiv 2212.11091). Epochs, teachers and
originals are as under DCD.""",
}

# By paper and table: what a reader has to know to trust or to doubt the rows.
NOTES = {
    ("reko", "1"): "The deviation 61.7 of row 11 is as printed; 6.17 is likely.",
    (
        "reko",
        "3",
    ): "The printed operations are those of images with 16 times the pixels; the commands train at 256x256.",
    ("reko", "4"): "CR: crucial regions only. CD: contrast; without it, L2.",
    ("portable", "2"): "A loss that a row does not name has weight 0. The baseline is Table 1's student alone.",
    ("portable", "3"): "Labels are B, so G_B makes the pictures. The paper prints no costs here.",
    (
        "dcd",
        "1",
    ): "Wavelet KD's 1.68 G (row 149) is half of what its own paper prints for this network. The U-Net's 18.60 G "
    '(row 160) is 2.5 % above the "paper" count.',
    ("dcd", "2"): "The baseline is L_per + L_gan: its score is that of Table 3.",
    ("crd", "1"): "The teacher is judged every 10 epochs, on summer2winter every 6.",
    ("crd", "2"): "The paper judges the teacher every epoch; here both train in every step.",
    (
        "crd",
        "3",
    ): "The baseline is read as the student alone, trained as a CycleGAN: with nothing but the teacher's D the "
    "same student has FID 389.77 in DCD's Table 3, far from 96.72.",
    ("crd", "6"): "The pre-trained D is that of the plain CycleGAN, whose generator is not this teacher.",
}
