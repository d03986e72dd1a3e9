"""Segmentation of volumes, slice by slice in three directions, with product units or without."""

from paoncodec.vision.segmentation.inference import segment
from paoncodec.vision.segmentation.networks import NETWORKS, ResUNet, build
from paoncodec.vision.segmentation.weights import TASK, Segmenter, load_weights, save_weights

__all__ = [
    "NETWORKS",
    "TASK",
    "ResUNet",
    "Segmenter",
    "build",
    "load_weights",
    "save_weights",
    "segment",
]
