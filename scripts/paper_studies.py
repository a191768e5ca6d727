"""What the rows of the papers' tables are: methods that are here, their studies as flags, and methods that are not."""

from __future__ import annotations

# Reasons by the words that a row's method begins with. In ReKo's tables these are the distillation parts alone.
DISTILLATIONS = {
    "Zagoruyko": "attention transfer",
    "Li and Lin": "GAN-Compression's feature distillation",
    "Li and Jiang": "semantic relation distillation",
    "Jin et al.": "CAT's kernel alignment",
    "Ahn et al.": "variational information distillation",
    "Ren et al.": "OMGD",
    "Li et al.": "GCC's distillation",
    "ReKo + Ren": "OMGD, which ReKo is added to,",
    "ReKo + Li": "GCC's distillation, which ReKo is added to,",
    "OMGD": "OMGD",
    "Wavelet KD": "wavelet distillation",
    "Semantic Contrastive Learning": "semantic contrastive learning",
    "FitNet": "FitNet",
    "MGD": "masked generative distillation",
    "KRD": "knowledge review",
    "region selector: VGG attention": "a region selector by VGG's attention",
    "region selector: VGG Grad-CAM": "a region selector by Grad-CAM",
    "region selector: salient detection": "a region selector by salient objects",
}
SEARCHES = ("Co-Evolution", "GAN-Slimming", "AutoGAN-Distiller", "DMAD", "CAT", "GAN-Compression", "GCC")

HUNDRED = "--n_epochs 0 --n_epochs_decay 100"  # "100 epochs, linearly decayed"
ONLY_L1 = "--gamma1 0 --beta2 0 --gamma2 0"

# The flags of a study, by the words of the row's method; the name of the run ends in the first of the two.
STUDIES: dict[str, dict[str, tuple[str, str]]] = {
    "crd": {
        "Instance level RKD (batch size 4)": ("instance_batch4", "--contents instance --batch_size 4"),
        "Instance level RKD (batch size 8)": ("instance_batch8", "--contents instance --batch_size 8"),
        "CRD w/o Patch": ("no_patch", "--contents column,row"),
        "CRD w/o Row": ("no_row", "--contents column,patch"),
        "CRD w/o Column": ("no_column", "--contents row,patch"),
        "CRD patch size 16": ("patch16", "--patch_size 16"),
        "CRD patch size 64": ("patch64", "--patch_size 64"),
        "D: pre-trained, freezing": ("pretrained_D_frozen", "--pretrained_D {D} --freeze_D"),
        "D: pre-trained, updating": ("pretrained_D", "--pretrained_D {D}"),
        "D: online, w/o discriminator for student": ("no_D", "--student_discriminator absent"),
        "D: online, always updating": ("updating_D", "--student_discriminator collaborative"),
        "CRD weight=10": ("lambda10", "--lambda_crd 10"),
        "CRD weight=50": ("lambda50", "--lambda_crd 50"),
        "angle weight=0.5": ("angle0.5", "--angle_weight 0.5"),
        "angle weight=1": ("angle1", "--angle_weight 1"),
        "perceptual weight=2": ("perceptual2", "--lambda_perceptual 2"),
        "perceptual weight=3": ("perceptual3", "--lambda_perceptual 3"),
    },
    "dcd": {
        "Baseline": ("per_gan", "--lambda_dcd 0"),
        "L_per": ("per", "--lambda_dcd 0 --lambda_stu 0"),
        "L_dcd": ("dcd", "--lambda_perceptual 0 --lambda_stu 0"),
        "L_gan": ("gan", "--lambda_perceptual 0 --lambda_dcd 0"),
        "L_per+L_dcd": ("per_dcd", "--lambda_stu 0"),
        "L_per+L_gan": ("per_gan", "--lambda_dcd 0"),
        "L_dcd+L_gan": ("dcd_gan", "--lambda_perceptual 0"),
        "downsample: update teacher + update student": ("downsampling_both", "--downsampling both"),
        "downsample: update teacher + fix student": ("downsampling_teacher", "--downsampling teacher"),
    },
    "reko": {
        "CR=no CD=yes": ("all_regions", "--region_selector all"),
        "CR=yes CD=no": ("l2", "--distillation l2"),
        "region selector: student attention": ("student_attention", "--region_selector student_attention"),
    },
    "portable": {
        "Aguinaldo et al. 2019": ("l1", ONLY_L1),
        "L_perc": ("perc", "--lambda_image_l1 0 --beta2 0 --gamma2 0"),
        "L_L1+L_perc": ("l1_perc", "--beta2 0 --gamma2 0"),
        "L_GT": ("gt", "--lambda_image_l1 0 --gamma1 0 --gamma2 0"),
        "L_GT+L_tri": ("gt_tri", "--lambda_image_l1 0 --gamma1 0"),
    },
}
# The methods as published, and rows that are one of them under another name.
OURS = {
    "CRD (Ours)",
    "CRD patch size 32 (Ours)",
    "D: online, updating-freezing (Ours)",
    "CRD weight=25 (Ours)",
    "angle weight=2 (Ours)",
    "perceptual weight=1 (Ours)",
    "DCD (Ours)",
    "L_per+L_dcd+L_gan",
    "ReKo (Ours)",
    "CR=yes CD=yes",
    "region selector: teacher attention",
    "Portable GAN (Ours)",
    "L_L1+L_perc+L_GT+L_tri",
}
TEACHERS = {"Teacher", "Original"}
ALONE = {"Origin Student", "CR=no CD=no", "Student from scratch", "baseline", "Baseline (w/o KD)"}
