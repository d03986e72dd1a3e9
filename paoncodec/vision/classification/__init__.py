"""Classification of small pictures with Padé neurons, CIFAR-10 first of all."""

from paoncodec.vision.classification.networks import NETWORKS, PadeResNet, build
from paoncodec.vision.classification.prediction import classify
from paoncodec.vision.classification.weights import TASK, load_weights, save_weights

__all__ = ["NETWORKS", "TASK", "PadeResNet", "build", "classify", "load_weights", "save_weights"]
