"""Results of `paoncodec vision eval` for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    return (
        f"{found['name']} on {data}: {means['accuracy']:.2%} right, cross entropy "
        f"{means['cross_entropy']:.4f}, {means['seconds']:.1f} s"
    )


def _segmentation(found: Mapping[str, Any]) -> str:
    """Means and intervals in per cent, and what the comparison says."""
    data = "{name}, {cases} cases".format(**found["dataset"])
    lines = [f"{found['name']} on {data}: Dice in %, mean [95% interval]"]
    against = found.get("against")
    if against:
        lines[0] += f"; difference from {against['first']} in points, p, adjusted p"
    figures = {"mean": found["results"]["mdice"], **found["results"]["dice"]}
    compared = {"mean": against["mdice"], **against["dice"]} if against else {}
    width = max(map(len, figures))
    for name, figure in figures.items():
        line = f"{name:<{width}}  {_spread(figure)}"
        if name in compared:
            tested = compared[name]
            line += f"  {_spread(tested['difference'], '+')}  p {_chance(tested['p'])}"
            line += f"  q {_chance(tested['q'])}" if "q" in tested else ""
        lines.append(line)
    return "\n".join(lines)


def _spread(figure: Mapping[str, float | None], sign: str = "") -> str:
    mean, low, high = (figure[key] for key in ("mean", "low", "high"))
    if mean is None:
        return "in no case"
    text = f"{100 * mean:{sign}.1f}"
    if low is None or high is None:
        return text
    return f"{text} [{100 * low:.1f}, {100 * high:.1f}]"


def _chance(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


#: Task → result → what is printed of it.
TABLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "superres": _superres,
    "classification": _classification,
    "segmentation": _segmentation,
}
