"""The public surface for plugins: everything a method, data set or objective of your own needs to import."""

from data.base_dataset import BaseDataset, get_params, get_transform
from data.image_folder import open_image
from models.base_model import BaseModel, Direction
from models.distillation import losses
from models.distillation.features import discriminator_features, discriminator_layers
from models.distillation.objectives import Objective, Translation
from models.distillation.offline import OfflineDistillModel
from models.distillation.online import OnlineDistillModel
from models.distillation.regions import RegionView, register_selector
from models.networks import GANLoss, define_D, define_G
from util.errors import UserError
from util.metrics.evidence import Evidence, Images, Measured
from util.plugin_manager import hookimpl

__all__ = [
    "BaseDataset",
    "BaseModel",
    "Direction",
    "Evidence",
    "GANLoss",
    "Images",
    "Measured",
    "Objective",
    "OfflineDistillModel",
    "OnlineDistillModel",
    "RegionView",
    "Translation",
    "UserError",
    "define_D",
    "define_G",
    "discriminator_features",
    "discriminator_layers",
    "get_params",
    "get_transform",
    "hookimpl",
    "losses",
    "open_image",
    "register_selector",
]
