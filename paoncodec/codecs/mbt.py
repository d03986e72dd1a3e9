"""MBT-Paon: the joint autoregressive and hierarchical codec with transforms of Padé neurons.

"Padé Neurons for Efficient Neural Models", IV-B, on CompressAI's form of Minnen, Ballé and
Toderici, "Joint Autoregressive and Hierarchical Priors for Learned Image Compression" (2018).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.layers import GDN
from compressai.models import JointAutoregressiveHierarchicalPriors
from compressai.models.base import get_scale_table
from compressai.models.utils import conv, deconv
from compressai.registry import register_model
from torch import Tensor, nn

from paoncodec.codecs.exact_mbt import ExactMBT, round_y
from paoncodec.codecs.rate import GainUnit
from paoncodec.entropy import Array, FrozenTables, GaussianTables, Tails
from paoncodec.layers import (
    CausalConv2d,
    NoShift,
    PaLaConv2d,
    PaLaConvTranspose2d,
    PredictedShift,
    ShiftSpec,
    StaticShift,
)


@dataclass(frozen=True)
class MBTConfig:
    """Sizes and options of an :class:`MBTPaon`. The defaults are the paper's (IV-B).

    A width of 0 or () stands for its default, and is replaced by it.

    Args:
        N: channels of the transforms' inner stages and of z; widths[0] where widths are given.
        M: channels of the latents y.
        widths: channels of the three inner stages of g_a (g_s mirrors them); default (N, N, N).
        hyper_width: channels of h_a and of z; default N.
        hyper_synthesis: the two inner widths of h_s; default (M, 3M/2).
        hyper_out: channels h_s hands to the entropy parameters; default 2M.
        context_width: channels the masked context convolution hands to them; default 2M.
        parameter_widths: the two inner widths of the entropy parameters; default (10M/3, 8M/3).
        gdn: generalised divisive normalisation between the stages (the paper does without).
        shift: ``"none"``, ``"static"`` (within one pixel) or ``"predicted"`` (per image), for every
            Padé layer of g_a and g_s.
        variable_rate: one network for all qualities, by a :class:`.GainUnit`.

    Raises:
        ValueError: a width below 1 or an unknown shift.
    """

    N: int = 192
    M: int = 192
    widths: tuple[int, ...] = ()
    hyper_width: int = 0
    hyper_synthesis: tuple[int, ...] = ()
    hyper_out: int = 0
    context_width: int = 0
    parameter_widths: tuple[int, ...] = ()
    gdn: bool = False
    shift: str = "predicted"
    variable_rate: bool = False

    def __post_init__(self) -> None:
        n, m = self.N, self.M
        defaults: dict[str, int | tuple[int, ...]] = {
            "widths": (n, n, n),
            "hyper_width": n,
            "hyper_synthesis": (m, m * 3 // 2),
            "hyper_out": 2 * m,
            "context_width": 2 * m,
            "parameter_widths": (m * 10 // 3, m * 8 // 3),
        }
        for name, default in defaults.items():
            value = getattr(self, name) or default
            object.__setattr__(self, name, value if isinstance(value, int) else tuple(value))
            wanted, given = _numbers(default), _numbers(getattr(self, name))
            if len(given) != len(wanted) or min(*given, n, m) < 1:
                raise ValueError(f"{name} {value!r}: expected {len(wanted)} width(s), each >= 1")
        object.__setattr__(self, "N", self.widths[0])
        if self.shift not in _SHIFTS:
            raise ValueError(f"shift {self.shift!r}: choose one of {', '.join(_SHIFTS)}")

    def to_json(self) -> dict[str, Any]:
        """A dictionary that JSON can hold and ``MBTConfig(**d)`` reads back."""
        return asdict(self)


def _numbers(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else value


_SHIFTS: dict[str, ShiftSpec] = {
    "none": NoShift(),
    "static": StaticShift(1.0),
    "predicted": PredictedShift(),
}


@register_model("mbt-paon")
class MBTPaon(JointAutoregressiveHierarchicalPriors):
    """MBT-Paon; ``forward``, ``compress``, ``decompress`` and ``update`` as CompressAI has them.

    Every convolution of g_a and g_s is a Padé layer of degrees [1/1] (5×5, stride 2); hyper,
    context and parameter networks are classical.

    Args:
        N, M: numbers of channels, as in CompressAI.
        **options: the other fields of :class:`MBTConfig`.

    Shapes: x (B, 3, H, W) in [0, 1] with H and W multiples of 64; y (B, M, H/16, W/16);
    z (B, hyper_width, H/64, W/64).

    Where the model has a variable rate, ``quality`` (1 to 6; one for all images or a tensor (B,);
    default 4) says how finely y is rounded. A model of one rate takes no quality.
    """

    def __init__(self, N: int = 192, M: int = 192, **options: Any) -> None:
        # The parent's own networks are built small: all of them are replaced below.
        super().__init__(N=1, M=3)
        self.config = cfg = MBTConfig(N, M, **options)
        self.N, self.M = cfg.N, cfg.M
        stages = (3, *cfg.widths, cfg.M)
        self.g_a = _transform(self._down, stages, cfg, inverse=False)
        self.g_s = _transform(self._up, stages[::-1], cfg, inverse=True)
        h = cfg.hyper_width
        self.h_a = nn.Sequential(
            conv(M, h, stride=1, kernel_size=3),
            nn.LeakyReLU(),
            conv(h, h),
            nn.LeakyReLU(),
            conv(h, h),
        )
        first, second = cfg.hyper_synthesis
        self.h_s = nn.Sequential(
            deconv(h, first),
            nn.LeakyReLU(),
            deconv(first, second),
            nn.LeakyReLU(),
            conv(second, cfg.hyper_out, stride=1, kernel_size=3),
        )
        self.context_prediction = CausalConv2d(M, cfg.context_width)
        first, second = cfg.parameter_widths
        self.entropy_parameters = nn.Sequential(
            nn.Conv2d(cfg.hyper_out + cfg.context_width, first, 1),
            nn.LeakyReLU(),
            nn.Conv2d(first, second, 1),
            nn.LeakyReLU(),
            nn.Conv2d(second, 2 * M, 1),
        )
        self.entropy_bottleneck = EntropyBottleneck(h)
        self.gain = GainUnit(M) if cfg.variable_rate else None
        self.z_tables = FrozenTables()
        self.y_tables = GaussianTables()
        self._exact: tuple[tuple[tuple[int, int], ...], ExactMBT] | None = None

    #: What the names of the transforms' weights end in.
    _weight = "numerator"

    @staticmethod
    def _down(n_in: int, n_out: int, cfg: MBTConfig) -> nn.Module:
        return PaLaConv2d(n_in, n_out, 5, stride=2, shift=_SHIFTS[cfg.shift])

    @staticmethod
    def _up(n_in: int, n_out: int, cfg: MBTConfig) -> nn.Module:
        return PaLaConvTranspose2d(n_in, n_out, 5, stride=2, shift=_SHIFTS[cfg.shift])

    def analysis(self, x: Tensor, quality: float | Tensor | None = None) -> Tensor:
        """g_a and the gains: y as it is rounded.

        Under autocast the last layer keeps full precision: y needs steps finer than 1.
        """
        *inner, last = self.g_a
        for layer in inner:
            x = layer(x)
        y = _unrounded(last, x)
        if self.gain is None:
            return _of_one_rate(y, quality)
        return self.gain.scale(y, self.gain.qualities(quality, len(y)))

    def synthesis(self, y_hat: Tensor, quality: float | Tensor | None = None) -> Tensor:
        """g_s after the inverse gains. Returns the weights' dtype.

        Under autocast the first layer keeps full precision.
        """
        if self.gain is None:
            x = _of_one_rate(y_hat, quality)
        else:
            x = self.gain.unscale(y_hat, self.gain.qualities(quality, len(y_hat)))
        first, *inner = self.g_s
        x = _unrounded(first, x)
        for layer in inner:
            x = layer(x)
        return x.to(next(first.parameters()).dtype)

    def forward(self, x: Tensor, quality: float | Tensor | None = None) -> dict[str, Any]:
        y_hat, scales, means, z_likelihoods = self.distributions(x, quality)
        y_likelihoods = self.gaussian_conditional._likelihood(y_hat, scales, means)
        y_likelihoods = self.gaussian_conditional.likelihood_lower_bound(y_likelihoods)
        return {
            "x_hat": self.synthesis(y_hat, quality),
            "likelihoods": {"y": y_likelihoods, "z": z_likelihoods},
        }

    def distributions(
        self, x: Tensor, quality: float | Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """ŷ, the deviations and means that are predicted for it, and the likelihoods of ẑ.

        The first three (B, M, H/16, W/16), the last as z; all float32, also under autocast. In
        training ŷ and ẑ are y and z with noise, otherwise they are rounded.
        """
        y = self.analysis(x, quality)
        with torch.autocast(x.device.type, enabled=False):
            z_hat, z_likelihoods = self.entropy_bottleneck(self.h_a(y))
            mode = "noise" if self.training else "dequantize"
            y_hat = self.gaussian_conditional.quantize(y, mode)
            params = torch.cat((self.h_s(z_hat), self.context_prediction(y_hat)), dim=1)
            scales, means = self.entropy_parameters(params).chunk(2, 1)
        return y_hat, scales, means, z_likelihoods

    def update(
        self,
        scale_table: Tensor | None = None,
        force: bool = False,
        tails: Tails | None = None,
        **options: Any,
    ) -> bool:
        """Makes the probability tables; they then travel with the state dict.

        Args:
            scale_table: standard deviations the tables of y are made for; default CompressAI's 64.
            force: make them even where there are some.
            tails: shape of y's distributions; default Gaussians, as trained.
            **options: for the factorised prior, as in CompressAI.

        Returns:
            Whether tables were made.
        """
        self._exact = None  # new tables may lie where older ones lay
        made = self.entropy_bottleneck.update(force=force, **options)
        if made or not len(self.z_tables):
            self.z_tables.set(*_bottleneck_rows(self.entropy_bottleneck))
        if len(self.y_tables) and not force:
            return made
        self.y_tables.build(get_scale_table() if scale_table is None else scale_table, tails)
        return True

    def exact(self) -> ExactMBT:
        """The entropy model in exact arithmetic, made anew when a weight or table has changed.

        Raises:
            WeightsError: no tables (call :meth:`update` after training), or weights out of range.
        """
        stamp = self._stamp()
        if self._exact is None or self._exact[0] != stamp:
            self._exact = stamp, ExactMBT(self, self.z_tables, self.y_tables)
        return self._exact[1]

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
            ``digests``: CRC-32 of each image's integer latents.
        """
        latents = [self._latents(image, quality) for image in x]
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
        """
        images, digests = [], []
        device = next(self.parameters()).device
        for y, z in zip(*strings, strict=True):
            y_hat, digest = self.exact().decode(y, z, (shape[0], shape[1]))
            images.append(self.synthesis(y_hat[None].to(device), quality).clamp(0, 1))
            digests.append(digest)
        return {"x_hat": torch.cat(images), "digests": digests}

    def reconstruct(self, x: Tensor, quality: float | None = None) -> Tensor:
        """(B, 3, H, W): what :meth:`decompress` makes of :meth:`compress`, without the coding.

        Args:
            x, quality: as for :meth:`compress`.
        """
        rounded = [torch.from_numpy(round_y(self._latents(image, quality)[0])) for image in x]
        images = [self.synthesis(y[None].to(x), quality).clamp(0, 1) for y in rounded]
        return torch.cat(images)

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
        if y.shape[2:] != tuple(4 * side for side in z.shape[2:]):
            height, width = image.shape[1:]
            raise ValueError(f"a picture of {width}x{height}: pad its sides to multiples of 64")
        return y[0], z[0]

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor]) -> MBTPaon:
        """The model whose sizes and options the tensors' names and shapes tell, with its weights.

        Raises:
            ValueError, KeyError: the state dict is not an MBT-Paon's.
        """
        net = cls(**_config_of(state_dict, cls._weight).to_json())
        net.load_state_dict(state_dict)
        return net


class MBT2018(MBTPaon):
    """The same codec with CompressAI's own transforms: convolutions with GDN between them.

    Minnen, Ballé and Toderici (2018) in any widths, to compare Padé neurons with: equal sizes,
    equal entropy model, equal files.

    Raises:
        ValueError: options that convolutions do not have (a shift), or no GDN.
    """

    _weight = "weight"

    def __init__(self, N: int = 192, M: int = 192, **options: Any) -> None:
        options = {"gdn": True, "shift": "none", **options}
        if not options["gdn"] or options["shift"] != "none":
            raise ValueError("convolutions come with GDN and without shift")
        super().__init__(N, M, **options)

    @staticmethod
    def _down(n_in: int, n_out: int, cfg: MBTConfig) -> nn.Module:
        return conv(n_in, n_out)

    @staticmethod
    def _up(n_in: int, n_out: int, cfg: MBTConfig) -> nn.Module:
        return deconv(n_in, n_out)


def _of_one_rate(y: Tensor, quality: float | Tensor | None) -> Tensor:
    if quality is not None:
        raise ValueError(f"quality {quality}: this model has one rate; leave it out")
    return y


def _unrounded(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer in its own precision, whatever autocast says."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.to(next(layer.parameters()).dtype))


def _transform(
    layer: Callable[[int, int, MBTConfig], nn.Module],
    stages: tuple[int, ...],
    cfg: MBTConfig,
    inverse: bool,
) -> nn.Sequential:
    steps: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(pairwise(stages)):
        steps.append(layer(n_in, n_out, cfg))
        if cfg.gdn and i < len(stages) - 2:
            steps.append(GDN(n_out, inverse=inverse))
    return nn.Sequential(*steps)


def _bottleneck_rows(prior: EntropyBottleneck) -> tuple[list[Tensor], list[int]]:
    """CompressAI's tables of the factorised prior: already 16-bit, the tail's mass last."""
    rows = zip(prior.quantized_cdf, prior.cdf_length.tolist(), strict=True)
    return [cdf[:length] for cdf, length in rows], prior.offset.tolist()


def _config_of(state: Mapping[str, Tensor], weight: str) -> MBTConfig:
    layers = [k for k in state if re.fullmatch(rf"g_a\.\d+\.{weight}", k)]
    layers.sort(key=lambda k: int(k.split(".")[1]))
    if len(layers) != len(MBTConfig().widths) + 1:
        raise ValueError("not the state dict of an MBT-Paon: it has other layers in g_a")
    *widths, latents = (state[k].shape[0] for k in layers)
    first = layers[0].removesuffix(weight)
    shift = "none"
    if first + "shifter.shift" in state:
        shift = "static"
    if first + "shifter.predict.weight" in state:
        shift = "predicted"
    return MBTConfig(
        N=widths[0],
        M=latents,
        widths=tuple(widths),
        hyper_width=state["h_a.4.weight"].shape[0],
        hyper_synthesis=(state["h_s.0.weight"].shape[1], state["h_s.2.weight"].shape[1]),
        hyper_out=state["h_s.4.weight"].shape[0],
        context_width=state["context_prediction.weight"].shape[0],
        parameter_widths=(
            state["entropy_parameters.0.weight"].shape[0],
            state["entropy_parameters.2.weight"].shape[0],
        ),
        gdn="g_a.1.beta" in state,
        shift=shift,
        variable_rate="gain.log_gain" in state,
    )
