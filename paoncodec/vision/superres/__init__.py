"""Single-image super-resolution with Padé neurons, ×2 and ×4."""

from paoncodec.vision.superres.networks import NETWORKS, SuperResNet, build
from paoncodec.vision.superres.tiles import enlarge_picture, upscale
from paoncodec.vision.superres.weights import TASK, load_weights, save_weights

__all__ = [
    "NETWORKS",
    "TASK",
    "SuperResNet",
    "build",
    "enlarge_picture",
    "load_weights",
    "save_weights",
    "upscale",
]
