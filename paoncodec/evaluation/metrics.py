"""What is said of a decoded picture and of its file, in one place and in one way."""

from __future__ import annotations

import math
import os
import warnings
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paoncodec.errors import UsageError

__all__ = [
    "bits_per_pixel",
    "check_lpips",
    "decibels",
    "lpips_distance",
    "ms_ssim",
]

Pixels = npt.NDArray[np.uint8]

# Four reductions by 2 and a window of 11: the scales of Wang, Simoncelli and Bovik (2003).
_MS_SSIM_LEAST_SIDE = 161


def bits_per_pixel(size: int, picture: Pixels) -> float:
    """Of a file of `size` bytes that holds `picture` (H, W, C): every byte counts."""
    height, width = picture.shape[:2]
    return 8 * size / (height * width)


def ms_ssim(before: Pixels, after: Pixels) -> float | None:
    """Multi-scale structural similarity, 0 to 1, the mean over the channels.

    Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment"
    (2003), as pytorch-msssim computes it and CompressAI quotes it.

    Returns:
        None for a picture with a side below 161 pixels, which has too few scales.
    """
    if min(before.shape[:2]) < _MS_SSIM_LEAST_SIDE:
        return None
    import torch
    from pytorch_msssim import ms_ssim as similarity

    with torch.inference_mode():
        return float(similarity(_batch(before), _batch(after), data_range=255))


def decibels(similarity: float) -> float:
    """MS-SSIM on the scale that curves are compared on: -10·log10(1 - MS-SSIM), infinite at 1."""
    return -10 * math.log10(1 - similarity) if similarity < 1 else math.inf


def lpips_distance(before: Pixels, after: Pixels, weights: str) -> float:
    """Learned perceptual distance with AlexNet; 0 for equal pictures.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018),
    version 0.1, as the package lpips computes it.

    Args:
        before, after: uint8 (H, W, C), sides of 64 pixels or more.
        weights: path of torchvision's AlexNet, as for `check_lpips`.
    """
    import torch

    network = _lpips(weights)
    with torch.inference_mode():
        first, second = (_batch(picture) / 127.5 - 1 for picture in (before, after))
        return float(network(first, second))


def check_lpips(weights: str) -> dict[str, str]:
    """Load LPIPS before anything is measured; which weights they are, for the record.

    Args:
        weights: path of the state dict of torchvision's AlexNet trained on ImageNet
            (`alexnet-owt-7be5be79.pth`). The package lpips brings the weights of its own layers,
            not these, and nothing is fetched here.

    Raises:
        UsageError: lpips is not installed, or that is not what the file holds.
    """
    _lpips(weights)
    return {
        "network": "alex",
        "version": "0.1",
        "weights_sha256": sha256(Path(weights).read_bytes()).hexdigest(),
    }


@lru_cache(maxsize=1)
def _lpips(weights: str) -> Any:
    import torch

    try:
        import lpips
    except ImportError as error:
        raise UsageError("LPIPS takes the package lpips: pip install 'paoncodec[eval]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision's, about how lpips asks for AlexNet
            network = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
        state = torch.load(os.fspath(weights), map_location="cpu", weights_only=True)
        # lpips parts the layers into slices: "slice2.3.weight" is torchvision's third.
        names = network.net.state_dict()
        network.net.load_state_dict({n: state[f"features.{n.split('.', 1)[1]}"] for n in names})
    except Exception as error:  # whatever torch makes of a file that is something else
        raise UsageError(
            f"{weights}: not torchvision's AlexNet ({' '.join(repr(error).split())[:200]}); "
            "give its alexnet-owt-7be5be79.pth"
        ) from error
    return network.eval()


def _batch(picture: Pixels) -> Any:
    """(1, 3, H, W), floats from 0 to 255, of uint8 (H, W, C); grey three times."""
    import torch

    rgb = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()
