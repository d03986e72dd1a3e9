"""What codes pictures in all our codecs: gains, frozen tables, the exact entropy model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from paoncodec.coding.exact_model import ROUNDINGS, ExactModel, Rounding, round_y
from paoncodec.coding.rate import GainUnit
from paoncodec.entropy import Array, FrozenTables, GaussianTables, Select, Walk
from paoncodec.errors import WeightsError
from paoncodec.layers import NoShift, PredictedShift, ShiftSpec, StaticShift
from paoncodec.layers.convolutions import full_values
from paoncodec.tensors import name_of_not_finite

if TYPE_CHECKING:
    from typing_extensions import Self

#: Shifts of the transforms' Padé layers, by the name of the option.
SHIFTS: Mapping[str, ShiftSpec] = {
    "none": NoShift(),
    "static": StaticShift(1.0),
    "predicted": PredictedShift(),
}


def require_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuses weights that training has spoilt.

    Raises:
        WeightsError: NaN or infinity in one of the tensors.
    """
    name = name_of_not_finite(tensors)
    if name is not None:
        raise WeightsError(
            f"{name} holds NaN or infinity: take weights from before the training diverged"
        )


def require_whole(x: Tensor, y: Tensor, z: Tensor) -> None:
    """Refuses pictures x (..., H, W) that cannot be halved often enough.

    Raises:
        ValueError: the sides of y (B, M, H', W') are not four times those of z.
    """
    if y.shape[2:] != tuple(4 * side for side in z.shape[2:]):
        height, width = x.shape[-2:]
        raise ValueError(f"a picture of {width}x{height}: pad its sides to multiples of 64")


def in_range(x_hat: Tensor) -> Tensor:
    """A picture that g_s made, in [0, 1].

    Raises:
        WeightsError: NaN or infinity in it.
    """
    if not x_hat.isfinite().all():
        raise WeightsError(
            "the weights make NaN or infinity of this picture's latents: take others"
        )
    return x_hat.clamp(0, 1)


def shift_of(state: Mapping[str, Tensor], layer: str) -> str:
    """The shift of a Padé layer, from the names of a state dict; ``layer`` ends in a dot."""
    if layer + "shifter.shift" in state:
        return "static"
    return "predicted" if layer + "shifter.predict.weight" in state else "none"


#: What a codec's Padé layers may see outside their maps.
Padding = Literal["replicate", "zeros"]
PADDINGS: tuple[Padding, ...] = get_args(Padding)
#: In a state dict, the sign of zeros: shapes do not tell.
_ZERO_PADDED = "padded_with_zeros"
#: In a state dict, the sign of latents that are rounded around their means.
_AROUND_MEANS = "rounded_around_means"


def check_options(shift: str, padding: str, rounding: str = "integers") -> None:
    """What the configurations of all codecs refuse.

    Raises:
        ValueError: there is no such shift, padding or rounding.
    """
    if shift not in SHIFTS:
        raise ValueError(f"shift {shift!r}: choose one of {', '.join(SHIFTS)}")
    if padding not in PADDINGS:
        raise ValueError(f"padding {padding!r}: choose one of {', '.join(PADDINGS)}")
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding {rounding!r}: choose one of {', '.join(ROUNDINGS)}")


def padding_of(state: Mapping[str, Tensor], weight: str) -> Padding:
    """The padding of a codec, from the names of a state dict.

    Args:
        state: the state dict.
        weight: what the names of the transforms' weights end in; convolutions see zeros always.
    """
    return "zeros" if weight == "weight" or _ZERO_PADDED in state else "replicate"


def rounding_of(state: Mapping[str, Tensor]) -> Rounding:
    """How a codec rounds y, from the names of a state dict."""
    return "means" if _AROUND_MEANS in state else "integers"


class Excerpt(nn.Module):
    """A module that takes of its tensors in a state dict what it has, and passes over the rest."""

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, [], error_msgs
        )


class Quantiles(Excerpt):
    """What coding takes of CompressAI's ``EntropyBottleneck``, the prior of z: (C, 1, 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.quantiles = nn.Parameter(torch.zeros(channels, 1, 3))


class ExactCodec(nn.Module):
    """Networks whose latents are coded in exact arithmetic.

    An architecture has g_a, g_s, h_a, h_s, entropy_bottleneck (an ``EntropyBottleneck`` of
    CompressAI, or :class:`Quantiles`), config and M, the number of latents, and calls
    :meth:`code_exactly` when it is built. It comes as a coder, which can do nothing else, and as a
    model of CompressAI, a :class:`.TrainableCodec`, made of the same parts under the same names.

    Where the model has a variable rate, ``quality`` (1 to 6; one for all images or a tensor (B,);
    default 4) says how finely y is rounded. A model of one rate takes no quality.
    """

    config: Any
    M: int
    g_a: nn.Sequential
    g_s: nn.Sequential

    if TYPE_CHECKING:
        # In some architectures attributes, in others properties.
        @property
        def h_a(self) -> Any: ...

        @property
        def h_s(self) -> Any: ...

        @property
        def entropy_bottleneck(self) -> Any: ...

    #: How many layers, at g_a's end and at g_s's beginning, keep full precision under autocast.
    _precise = 1
    #: How y is rounded.
    rounding: Rounding = "integers"

    @property
    def downsampling_factor(self) -> int:
        """Sides of pictures are multiples of this: sides of z, in pixels."""
        return 64

    def note(self, name: str) -> None:
        """Adds a sign to the state dict, which alone must tell every option."""
        self.register_buffer(name, torch.ones(1, dtype=torch.uint8))

    def note_padding(self, padding: Padding, weight: str) -> None:
        """Adds what :func:`padding_of` reads; arguments as there."""
        if padding_of({}, weight) != padding:
            self.note(_ZERO_PADDED)

    def round_to(self, rounding: Rounding) -> None:
        """Has y rounded so, and adds what :func:`rounding_of` reads."""
        self.rounding = rounding
        if rounding == "means":
            self.note(_AROUND_MEANS)

    def code_exactly(self, channels: int, variable_rate: bool) -> None:
        """Adds gains and tables for ``channels`` latents."""
        self.gain = GainUnit(channels) if variable_rate else None
        self.z_tables = FrozenTables()
        self.y_tables = GaussianTables()
        self._exact: tuple[tuple[tuple[int, int], ...], ExactModel] | None = None
        self._register_state_dict_hook(_as_written)

    def walk(self, select: Select) -> Walk:
        """The walk over y in exact arithmetic, made of the present weights.

        Raises:
            WeightsError: they are out of range.
        """
        raise NotImplementedError

    def predictors(self) -> list[nn.Module]:
        """The layers that say y's distributions, in the order of its channels.

        The first half of a layer's outputs are deviations, the second half means.
        """
        raise NotImplementedError

    @classmethod
    def config_of(cls, state_dict: Mapping[str, Tensor]) -> Any:
        """The configuration that the tensors' names and shapes tell.

        Raises:
            ValueError, KeyError: the state dict is not one of this codec.
        """
        raise NotImplementedError

    def lay_for_coding(self) -> None:
        """Lays the kernels of g_a and g_s channels last: so CPUs code fastest, but do not train."""
        for network in (self.g_a, self.g_s):
            network.to(memory_format=torch.channels_last)

    def analysis(self, x: Tensor, quality: float | Tensor | None = None) -> Tensor:
        """g_a and the gains: y as it is rounded.

        Under autocast the last layers keep full precision: y needs steps finer than 1.
        """
        y = _unrounded(self.g_a[-self._precise :], self.g_a[: -self._precise](x))
        if self.gain is None:
            return _of_one_rate(y, quality)
        return self.gain.scale(y, self.gain.qualities(quality, len(y)))

    def synthesis(self, y_hat: Tensor, quality: float | Tensor | None = None) -> Tensor:
        """g_s after the inverse gains. Returns the weights' dtype.

        Under autocast the first layers keep full precision.
        """
        if self.gain is None:
            x = _of_one_rate(y_hat, quality)
        else:
            x = self.gain.unscale(y_hat, self.gain.qualities(quality, len(y_hat)))
        first, inner = self.g_s[: self._precise], self.g_s[self._precise :]
        return inner(_unrounded(first, x)).to(next(first.parameters()).dtype)

    def predict(self, y: Tensor, hyper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ŷ, and the deviations and means that are predicted for it, from y and the output of h_s.

        Each (B, M, H/16, W/16); a latent's prediction sees only those that a decoder has before it.
        Where y is rounded in training too, the gradient of rounding is taken to be 1.
        """
        raise NotImplementedError

    def exact(self) -> ExactModel:
        """The entropy model in exact arithmetic, made anew when a weight or table has changed.

        Raises:
            WeightsError: no tables (call :meth:`update` after training), or weights out of range.
        """
        stamp = self._stamp()
        if self._exact is None or self._exact[0] != stamp:
            self._exact = (
                stamp,
                ExactModel(
                    self.h_s,
                    self._medians(),
                    self.z_tables,
                    self.y_tables,
                    self.walk,
                    self.rounding,
                ),
            )
        return self._exact[1]

    def _medians(self) -> Tensor:
        """(C,) of z."""
        return self.entropy_bottleneck.quantiles[:, 0, 1]

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        """Changes with any tensor of the model: where each lies, and how often it was written."""
        tensors = (*self.parameters(), *self.buffers())
        return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_exact": None}  # made again from the weights

    def compress(self, x: Tensor, quality: float | None = None) -> dict[str, Any]:
        """Encodes images.

        Args:
            x: (B, 3, H, W) in [0, 1]; H and W multiples of 64, or such that y, rounded up at each
                stage, has four times the sides of z.
            quality: 1 to 6, where the model has a variable rate.

        Returns:
            ``strings``: [y strings, z strings], one of each per image; ``shape``: sides of z;
            ``digests``: CRC-32 of each image's latents.

        Raises:
            ValueError: no image.
        """
        if not len(x):
            raise ValueError(f"x of shape {tuple(x.shape)}: give at least one image")
        return self._coded([self._latents(image, quality) for image in x])

    def compress_latents(self, y: Tensor) -> dict[str, Any]:
        """:meth:`compress` of one image from y on, (1, M, H/16, W/16) as :meth:`analysis` gives it.

        H and W are multiples of 64.
        """
        return self._coded([(y[0], self.h_a(y)[0])])

    def _coded(self, latents: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        coded = [self.exact().encode(y, z) for y, z in latents]
        return {
            "strings": [[c.y for c in coded], [c.z for c in coded]],
            "shape": latents[0][1].shape[1:],
            "digests": [c.digest for c in coded],
        }

    def decompress(
        self, strings: list[list[bytes]], shape: tuple[int, int], quality: float | None = None
    ) -> dict[str, Any]:
        """Decodes what :meth:`compress` returned.

        Args:
            strings, shape: as returned.
            quality: as given to it.

        Returns:
            ``x_hat``: (B, 3, 64·shape[0], 64·shape[1]) in [0, 1]; ``digests``: as decoded.

        Raises:
            MalformedStream: strings that no encoder writes for this shape.
            WeightsError: g_s makes no picture of them, but NaN or infinity.
        """
        latents, digests = self.decompress_latents(strings, shape)
        images = [in_range(self.synthesis(y_hat[None], quality)) for y_hat in latents]
        return {"x_hat": torch.cat(images), "digests": digests}

    def decompress_latents(
        self, strings: list[list[bytes]], shape: tuple[int, int]
    ) -> tuple[list[Tensor], list[int]]:
        """ŷ of each image (M, 4·shape[0], 4·shape[1]) and its digest; as :meth:`decompress`."""
        device = next(self.parameters()).device
        sides = shape[0], shape[1]
        decoded = [self.exact().decode(y, z, sides) for y, z in zip(*strings, strict=True)]
        return [y_hat.to(device) for y_hat, _ in decoded], [digest for _, digest in decoded]

    def reconstruct(self, x: Tensor, quality: float | None = None) -> Tensor:
        """(B, 3, H, W): what :meth:`decompress` makes of :meth:`compress`, without the coding.

        Args:
            x, quality: as for :meth:`compress`.
        """
        latents = [self.analysis(image[None], quality) for image in x]
        images = [self.synthesis(self.rounded(y), quality).clamp(0, 1) for y in latents]
        return torch.cat(images)

    def rounded(self, y: Tensor) -> Tensor:
        """ŷ as :meth:`decompress_latents` gives it of :meth:`compress_latents`: (1, M, H, W).

        Args:
            y: as given there.

        Raises:
            WeightsError: it is not finite. Where y is rounded around its means, also as
                :meth:`exact`.
        """
        if self.rounding == "integers":
            return torch.from_numpy(round_y(y)).to(y)
        return self.exact().rounded(y[0], self.h_a(y)[0])[0][None].to(y)

    def estimate(self, x: Tensor, quality: float | None = None) -> list[dict[str, float]]:
        """Bits of y and z of each image, by the walk that also encodes and decodes.

        Args:
            x, quality: as for :meth:`compress`.
        """
        return [self.exact().estimate(*self._latents(image, quality)) for image in x]

    def spent(self, strings: list[list[bytes]], shape: tuple[int, int]) -> list[dict[str, Array]]:
        """Where the bits of each image went; arguments and errors as for :meth:`decompress`.

        Returns:
            For each image, its parts in the order of the file: bits at each position, all
            channels together, ``z`` of ``shape`` and ``y`` of four times its sides.
        """
        return [
            self.exact().spent(y, z, (shape[0], shape[1])) for y, z in zip(*strings, strict=True)
        ]

    def _latents(self, image: Tensor, quality: float | None) -> tuple[Tensor, Tensor]:
        """y and z of one image (3, H, W), by itself: in a batch, roundings could differ."""
        y = self.analysis(image[None], quality)
        z = self.h_a(y)
        require_whole(image, y, z)
        return y[0], z[0]

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """The model whose sizes and options the tensors' names and shapes tell, with its weights.

        With tables, kernels lie as coding is fastest (:meth:`lay_for_coding`).

        Raises:
            ValueError, KeyError: the state dict is not one of this codec.
        """
        net = cls(**cls.config_of(state_dict).to_json())
        net.load_state_dict(state_dict)
        if len(net.y_tables):
            net.lay_for_coding()
        return net


def _as_written(
    model: nn.Module, state: dict[str, Any], prefix: str, metadata: Mapping[str, Any]
) -> None:
    """Has tensors of a state dict lie as they are written, however the model is laid."""
    for name, tensor in state.items():
        if name.startswith(prefix) and not isinstance(tensor, nn.Parameter):
            state[name] = tensor.contiguous()


def _of_one_rate(y: Tensor, quality: float | Tensor | None) -> Tensor:
    if quality is not None:
        raise ValueError(f"quality {quality}: this model has one rate; leave it out")
    return y


def _unrounded(layers: nn.Module, x: Tensor) -> Tensor:
    """The layers' values in their own precision, whatever autocast says."""
    with full_values(x.device.type):
        return layers(x.to(next(layers.parameters()).dtype))
