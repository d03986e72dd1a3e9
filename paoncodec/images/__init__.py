"""Pictures in and out. Training crops are in `paoncodec.images.crops`, which imports torch."""

from paoncodec.images.difference import psnr
from paoncodec.images.reading import ImageSource, read_image
from paoncodec.images.writing import image_bytes, to_pil, to_uint8, write_image

__all__ = [
    "ImageSource",
    "image_bytes",
    "psnr",
    "read_image",
    "to_pil",
    "to_uint8",
    "write_image",
]
