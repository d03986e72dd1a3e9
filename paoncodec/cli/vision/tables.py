"""Results of `paoncodec vision eval` for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["TABLES"]


def _superres(found: Mapping[str, Any]) -> str:
    """The means."""
    forms = {
        "psnr-rgb": "PSNR-RGB {:.3f} dB",
        "psnr-y": "PSNR-Y {:.3f} dB",
        "ssim-y": "SSIM-Y {:.4f}",
        "lpips": "LPIPS {:.4f}",
        "seconds": "{:.1f} s",
    }
    means = found["results"]
    shown = [form.format(means[key]) for key, form in forms.items() if key in means]
    data = "{name}, means of {images} pictures".format(**found["dataset"])
    head = f"{found['name']} x{found['scale']} on {data}"
    return f"{head}: {', '.join(shown) or 'nothing was measured'}"


def _classification(found: Mapping[str, Any]) -> str:
    """The means."""
    data = "{name}, {images} pictures".format(**found["dataset"])
    means = found["results"]
    noise = f" with noise of {found['photons']:g} photons" if "photons" in found else ""
    five = f"{means['top5']:.2%} among five, " if "top5" in means else ""
    return (
        f"{found['name']} on {data}{noise}: {means['accuracy']:.2%} right, {five}cross entropy "
        f"{means['cross_entropy']:.4f}, {means['seconds']:.1f} s"
    )


#: Measure of segmentation → what its table is called, what values are multiplied by, the unit of
#: differences.
_MEASURES = {
    "dice": ("Dice in %", 100.0, "points"),
    "hd95": ("HD95 in mm", 1.0, "mm"),
    "surface_dice": ("surface Dice in %", 100.0, "points"),
}


def _segmentation(found: Mapping[str, Any]) -> str:
    """Means and intervals of each measure, and what the comparison says."""
    there = [measure for measure in _MEASURES if measure in found["results"]]
    return "\n".join(line for measure in there for line in _measured(found, measure))


def _measured(found: Mapping[str, Any], measure: str) -> Iterator[str]:
    """The lines of one measure."""
    title, scale, unit = _MEASURES[measure]
    data = "{name}, {cases} cases".format(**found["dataset"])
    within = f" within {found['tolerance']:g} mm" if measure == "surface_dice" else ""
    head = f"{found['name']} on {data}: {title}{within}, mean [95% interval]"
    results, against = found["results"], found.get("against", {})
    figures = {"mean": results[f"m{measure}"], **results[measure]}
    compared = {}
    if measure in against:
        head += f"; difference from {against['first']} in {unit}, p, adjusted p"
        head += f", cases in common: {against['cases']}"
        compared = {"mean": against[f"m{measure}"], **against[measure]}
    yield head
    width = max(map(len, figures))
    for name, figure in figures.items():
        line = f"{name:<{width}}  {_spread(figure, scale)}"
        if name in compared:
            tested = compared[name]
            line += f"  {_spread(tested['difference'], scale, '+')}  p {_chance(tested['p'])}"
            line += f"  q {_chance(tested['q'])}" if "q" in tested else ""
        yield line


def _spread(figure: Mapping[str, float | None], scale: float, sign: str = "") -> str:
    mean, low, high = (figure[key] for key in ("mean", "low", "high"))
    if mean is None:
        return "in no case"
    text = f"{scale * mean:{sign}.1f}"
    if low is None or high is None:
        return text
    return f"{text} [{scale * low:.1f}, {scale * high:.1f}]"


def _chance(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


#: Task → result → what is printed of it.
TABLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "superres": _superres,
    "classification": _classification,
    "segmentation": _segmentation,
}
