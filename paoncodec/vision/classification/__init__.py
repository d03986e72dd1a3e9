"""Classification of small pictures with Padé neurons or product units, CIFAR-10 first of all."""

from paoncodec.vision.classification.networks import (
    NETWORKS,
    PURE_NETWORKS,
    Classifier,
    PadeResNet,
    ResNet,
    build,
)
from paoncodec.vision.classification.prediction import classify
from paoncodec.vision.classification.weights import TASK, load_weights, save_weights

__all__ = [
    "NETWORKS",
    "PURE_NETWORKS",
    "TASK",
    "Classifier",
    "PadeResNet",
    "ResNet",
    "build",
    "classify",
    "load_weights",
    "save_weights",
]
