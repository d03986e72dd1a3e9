"""Segmentation of volumes, slice by slice in three directions, with product units or without."""

from paoncodec.vision.segmentation.networks import NETWORKS, ResUNet, build

__all__ = ["NETWORKS", "ResUNet", "build"]
