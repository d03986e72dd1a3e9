"""Pictures in and out. Training crops are in `paoncodec.images.crops`, which imports torch."""

from paoncodec.images.difference import psnr
from paoncodec.images.picture import Metadata, Picture, Samples
from paoncodec.images.reading import ImageSource, read_image, read_picture
from paoncodec.images.transparency import alpha_bytes, fill_hidden, read_alpha
from paoncodec.images.writing import (
    FORMATS,
    check_format,
    image_bytes,
    picture_bytes,
    pillow_info,
    to_pil,
    to_samples,
    to_uint8,
    write_image,
)

__all__ = [
    "FORMATS",
    "ImageSource",
    "Metadata",
    "Picture",
    "Samples",
    "alpha_bytes",
    "check_format",
    "fill_hidden",
    "image_bytes",
    "picture_bytes",
    "pillow_info",
    "psnr",
    "read_alpha",
    "read_image",
    "read_picture",
    "to_pil",
    "to_samples",
    "to_uint8",
    "write_image",
]
