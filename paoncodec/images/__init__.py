"""Pictures in and out. Training crops are in `paoncodec.images.crops`, which imports torch."""

from paoncodec.images.difference import psnr
from paoncodec.images.lossless import likely_lossless_bytes, lossless_bytes, read_lossless
from paoncodec.images.picture import Metadata, Picture, Samples
from paoncodec.images.reading import ImageSource, read_image, read_picture
from paoncodec.images.transparency import fill_hidden
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
    "check_format",
    "fill_hidden",
    "image_bytes",
    "likely_lossless_bytes",
    "lossless_bytes",
    "picture_bytes",
    "pillow_info",
    "psnr",
    "read_image",
    "read_lossless",
    "read_picture",
    "to_pil",
    "to_samples",
    "to_uint8",
    "write_image",
]
