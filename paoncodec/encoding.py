"""A picture to the bytes of a file: as latents, or as it is where that takes less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from paoncodec import decoding, zoo
from paoncodec.beside import to_sections
from paoncodec.bitstream import (
    Header,
    Limits,
    SectionKind,
    lowest_version,
    read,
    round_quality,
    write,
)
from paoncodec.errors import DecodeDesync, MalformedStream, UsageError
from paoncodec.memory import Budget
from paoncodec.quality import DEFAULT, HIGHEST, LOWEST
from paoncodec.targets import Target, find_quality

if TYPE_CHECKING:
    from paoncodec.images import Picture

__all__ = ["PictureFile", "check_choice"]

# A file of more bits per pixel is compared with a lossless one. Those of coloured photographs take
# 8 to 14, of grey ones 3 to 6; ours take less than this at every quality.
_DEAR_BPP = 4
# Memory for each pixel that a lossless image file takes to write (46 measured).
_STORING_BYTES = 48


def check_choice(choice: Sequence[zoo.Weights], target: Target | None) -> None:
    """Whether there is one model, or several that a target can choose among.

    Raises:
        UsageError: there is not.
    """
    if not choice:
        raise UsageError("no model: give one, or leave it out for the default")
    if len(choice) == 1:
        return
    if target is None:
        raise UsageError(f"{len(choice)} models: choose one, or give a target")
    for weights in choice:
        if weights.quality is None:
            raise UsageError(
                f"{len(choice)} models, but {weights.name} has all qualities: give it alone"
            )


class PictureFile:
    """The file of a picture, made once or, in search of a target, several times.

    Args:
        picture: what to code.
        lossless: True: keep its samples as they are; False: never; None: where that takes less.
        strip: leave its metadata out.
        max_memory: bytes that the process may take in all; None: half of what is free.

    Warns:
        PictureWarning: metadata is too large, and left out.
    """

    def __init__(
        self, picture: Picture, lossless: bool | None, strip: bool, max_memory: int | None
    ) -> None:
        from paoncodec.images import fill_hidden

        self._samples = fill_hidden(picture.samples, picture.alpha)
        self._alpha = picture.alpha
        self._depth = picture.depth
        self._lossless = lossless
        self._beside = to_sections(picture, strip)
        self._max_memory = max_memory

    def choose(
        self, choice: Sequence[zoo.Weights], quality: float | None, target: Target | None
    ) -> tuple[zoo.Weights, float]:
        """The model and the quality to write."""
        if target is None:
            return choice[0], _quality(choice[0], quality)
        if choice[0].quality is None:
            return choice[0], find_quality(target, lambda q: self.figure(target, choice[0], q))
        nearest = min(
            choice, key=lambda w: target.distance(self.figure(target, w, _quality(w, None)))
        )
        return nearest, _quality(nearest, None)

    def file(self, weights: zoo.Weights, quality: float) -> bytes:
        """The bytes of a file."""
        if self._lossless:
            return self._stored(weights, quality)
        coded = self._coded(weights, quality)
        if self._lossless is None and self._worth_storing(len(coded)):
            return min(coded, self._stored(weights, quality), key=len)
        return coded

    def _coded(self, weights: zoo.Weights, quality: float) -> bytes:
        """The bytes of a file with latents."""
        from paoncodec import pixels

        codec, rate = zoo.shared_coder(weights), weights.rate(quality)
        coded = pixels.encoded(codec, self._samples, rate, Budget.of(self._max_memory))
        y_strings, z_strings = coded["strings"]
        latents: dict[int, bytes] = {SectionKind.Z: z_strings[0], SectionKind.Y: y_strings[0]}
        return self._written(weights, quality, latents, coded["digests"][0])

    def _stored(self, weights: zoo.Weights, quality: float) -> bytes:
        """The bytes of a file with the samples as they are."""
        return self._written(weights, quality, {SectionKind.SAMPLES: self._samples_bytes}, 0)

    def _written(
        self, weights: zoo.Weights, quality: float, content: Mapping[int, bytes], latents_crc: int
    ) -> bytes:
        height, width, channels = self._samples.shape
        sections = {**content, **self._beside}
        header = Header(
            model=weights.name,
            weights_id=weights.identity,
            width=width,
            height=height,
            channels=channels,
            quality=quality,
            latents_crc=latents_crc,
            version=lowest_version(self._depth, sections),
            depth=self._depth,
        )
        return write(header, sections)

    def _worth_storing(self, coded: int) -> bool:
        """Whether a lossless file, which takes time and memory to make, may well be smaller than
        so many bytes."""
        pixels = self._samples[:, :, 0].size
        if 8 * coded <= _DEAR_BPP * pixels and not self._is_flat:
            return False
        return _STORING_BYTES * pixels <= Budget.of(self._max_memory).room

    @cached_property
    def _is_flat(self) -> bool:
        from paoncodec.images import mostly_flat

        return mostly_flat(self._samples)

    @cached_property
    def _samples_bytes(self) -> bytes:
        from paoncodec.images import lossless_bytes

        need = _STORING_BYTES * self._samples[:, :, 0].size
        Budget.of(self._max_memory).require(need, "a lossless file of the picture")
        return lossless_bytes(self._samples)

    def verify(self, data: bytes, weights: zoo.Weights) -> None:
        """Decodes the file.

        Raises:
            DecodeDesync: what comes out is not what went in. Where samples are coded with loss,
                that is decided by the latents, whose checksum is the encoder's.
        """
        try:
            container = read(data, Limits(max_pixels=2**62))
            lossless = decoding.is_lossless(container)
            given = None if lossless else weights
            found = decoding.picture_of(given, container, 2**62, self._max_memory, None)
        except MalformedStream as error:
            raise DecodeDesync(f"the file that was made cannot be decoded: {error}") from error
        same_alpha = (found.alpha is None) == (self._alpha is None) and (
            found.alpha is None or bool((found.alpha == self._alpha).all())
        )
        same_beside = {k: v for k, v in container.sections.items() if k in self._beside}
        if found.samples.shape != self._samples.shape or found.depth != self._depth:
            lost = "size or depth"
        elif lossless and (found.samples != self._samples).any():
            lost = "value of samples"
        elif not same_alpha:
            lost = "transparency"
        elif same_beside != self._beside:
            lost = "metadata"
        else:
            return
        raise DecodeDesync(f"the file that was made gives another {lost}: please report this")

    def figure(self, target: Target, weights: zoo.Weights, quality: float) -> float:
        """The target's figure of the file of this quality."""
        height, width, _ = self._samples.shape
        if target.kind != "psnr":
            size = len(self.file(weights, quality))
            return size if target.kind == "size" else 8 * size / (height * width)
        from paoncodec import pixels
        from paoncodec.images import psnr

        codec, rate = zoo.shared_coder(weights), weights.rate(quality)
        budget = Budget.of(self._max_memory)
        return psnr(self._samples, pixels.reconstructed(codec, self._samples, rate, budget))


def _quality(weights: zoo.Weights, asked: float | None) -> float:
    """The quality to write."""
    if weights.quality is None:
        try:
            return round_quality(DEFAULT if asked is None else asked)
        except ValueError as error:
            raise UsageError(f"quality {asked}: choose {LOWEST:g} to {HIGHEST:g}") from error
    own = round_quality(weights.quality)
    if asked is not None and not abs(asked - weights.quality) < 1 / 256:
        raise UsageError(
            f"quality {asked}: {weights.name} has quality {own:g} and no other; leave it out, or "
            "choose another model"
        )
    return own
