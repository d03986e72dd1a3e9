"""A picture to the bytes of a file: as latents, or as it is where that takes less."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from paoncodec import decoding, zoo
from paoncodec.beside import checksum, to_sections
from paoncodec.bitstream import (
    Header,
    Limits,
    SectionKind,
    lowest_version,
    read,
    round_quality,
    write,
)
from paoncodec.errors import (
    DecodeDesync,
    MalformedStream,
    OutOfReach,
    TargetMissed,
    UsageError,
)
from paoncodec.memory import Budget
from paoncodec.quality import DEFAULT, HIGHEST, LOWEST
from paoncodec.targets import Target, find_quality

if TYPE_CHECKING:
    from paoncodec.images import Picture

__all__ = ["PictureFile", "check_choice"]

# Pictures of fewer pixels are always coded without loss as well: it takes some milliseconds.
_FEW_PIXELS = 2**14
# A lossless file is made where a quick look says that it takes less than so many times what it must
# not exceed: for samples that repeat that look is rough.
_LIKELY = 4


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
        self._max_memory = max_memory
        self._beside = to_sections(picture, strip, self._room)

    def made(
        self, choice: Sequence[zoo.Weights], quality: float | None, target: Target | None
    ) -> tuple[bytes, zoo.Weights]:
        """The bytes of the file, and the weights that it was made with.

        Warns:
            TargetMissed: weights of one quality were taken that do not reach the target.

        Raises:
            UsageError: these weights cannot do this quality, or reach this target, or memory does
                not suffice.
        """
        if self._lossless:
            return self._kept(choice[0]), choice[0]
        if target is not None and self._fits_as_it_is(choice[0], target):
            return self._kept(choice[0]), choice[0]
        try:
            weights, asked = self._chosen(choice, quality, target)
        except OutOfReach:
            if self._lossless is None and self._meets(choice[0], target):
                return self._kept(choice[0]), choice[0]
            raise
        coded = data = self._coded(weights, asked)
        if self._lossless is None and self._may_be_larger(len(coded)):
            data = min(coded, self._kept(weights), key=len)
        if target is not None and weights.quality is not None:
            exact = data is not coded
            self._warn_if_missed(target, weights, len(data), len(choice), exact)
        return data, weights

    def _warn_if_missed(
        self, target: Target, weights: zoo.Weights, size: int, models: int, exact: bool
    ) -> None:
        """Of models of one quality, where nothing can be searched for."""
        if target.kind != "psnr":
            figure = self._measured(target, size)
        else:
            figure = math.inf if exact else self._figure(target, weights, _quality(weights, None))
        if target.is_met(figure):
            return
        which = f", the nearest of {models} models," if models > 1 else " has one quality and"
        text = f"{weights.name}{which} comes to {target.say(figure)}: the target was {target}"
        warnings.warn(text, TargetMissed, stacklevel=2)

    def _chosen(
        self, choice: Sequence[zoo.Weights], quality: float | None, target: Target | None
    ) -> tuple[zoo.Weights, float]:
        """The model and the quality to code with."""
        if target is None:
            return choice[0], _quality(choice[0], quality)
        if choice[0].quality is None:
            return choice[0], find_quality(target, lambda q: self._figure(target, choice[0], q))
        nearest = min(
            choice, key=lambda w: target.distance(self._figure(target, w, _quality(w, None)))
        )
        return nearest, _quality(nearest, None)

    def _fits_as_it_is(self, weights: zoo.Weights, target: Target) -> bool:
        """Whether a target of bytes has room for the samples themselves: nothing is better."""
        if self._lossless is not None or target.kind == "psnr":
            return False
        likely = self._measured(target, self._likely_bytes) <= _LIKELY * target.value
        return (likely or self._pixels <= _FEW_PIXELS) and self._meets(weights, target)

    def _meets(self, weights: zoo.Weights, target: Target | None) -> bool:
        """Whether a file of the samples themselves reaches a target."""
        if target is None or target.kind == "psnr":
            return target is not None
        return self._measured(target, len(self._kept(weights))) <= target.value

    def _may_be_larger(self, coded: int) -> bool:
        """Whether so many bytes may be more than the samples themselves take: time is only spent
        on a lossless file where it is little, or likely to be of use."""
        if self._pixels <= _FEW_PIXELS or 2 * coded >= self._samples.nbytes:
            return True
        return self._likely_bytes <= _LIKELY * coded

    def _measured(self, target: Target, size: float) -> float:
        """A size in the unit of the target."""
        return size if target.kind == "size" else 8 * size / self._pixels

    def _figure(self, target: Target, weights: zoo.Weights, quality: float) -> float:
        """The target's figure of the latents of this quality."""
        if target.kind != "psnr":
            return self._measured(target, len(self._coded(weights, quality)))
        from paoncodec import pixels
        from paoncodec.images import psnr

        codec, rate = zoo.shared_coder(weights), weights.rate(quality)
        budget = Budget.of(self._max_memory)
        return psnr(self._samples, pixels.reconstructed(codec, self._samples, rate, budget))

    def _coded(self, weights: zoo.Weights, quality: float) -> bytes:
        """The bytes of a file with latents."""
        from paoncodec import pixels

        codec, rate = zoo.shared_coder(weights), weights.rate(quality)
        coded = pixels.encoded(codec, self._samples, rate, Budget.of(self._max_memory))
        y_strings, z_strings = coded["strings"]
        latents: dict[int, bytes] = {SectionKind.Z: z_strings[0], SectionKind.Y: y_strings[0]}
        return self._written(weights, quality, latents, coded["digests"][0])

    def _kept(self, weights: zoo.Weights) -> bytes:
        """The bytes of a file with the samples as they are: the same, whatever was asked for."""
        samples: dict[int, bytes] = {SectionKind.SAMPLES: self._samples_bytes}
        return self._written(weights, _quality(weights, None), samples, checksum(self._samples))

    def _written(
        self, weights: zoo.Weights, quality: float, content: Mapping[int, bytes], crc: int
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
            latents_crc=crc,
            version=lowest_version(self._depth, sections),
            depth=self._depth,
        )
        return write(header, sections)

    @property
    def _pixels(self) -> int:
        return self._samples.shape[0] * self._samples.shape[1]

    @cached_property
    def _likely_bytes(self) -> float:
        from paoncodec.images import likely_lossless_bytes

        return likely_lossless_bytes(self._samples)

    @cached_property
    def _samples_bytes(self) -> bytes:
        from paoncodec.images import lossless_bytes

        return lossless_bytes(self._samples, self._room)

    @property
    def _room(self) -> float:
        """Bytes that a lossless file may take to make. What happens to be free is no limit: files
        must not depend on it."""
        return math.inf if self._max_memory is None else Budget.of(self._max_memory).room

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
