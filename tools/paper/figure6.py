"""Figure 6: MBT-Paon with and without GDN against MBT-2018 (a: curves, b: rate saved).

    python tools/paper/figure6.py --images KODAK --plain W1 W2 W3 W4 W5 W6 --gdn V1 V2 V3 V4 V5 V6

The weights are those of one λ each, or of one file for all. MBT-2018 is CompressAI's published
curve, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

from _paper import (
    Claim,
    check_network,
    draw,
    measured_curve,
    options_of,
    parser_of,
    published,
    report,
    run,
)

PLAIN, GDN = "mbt-paon", "mbt-paon-gdn"
# IV-B3 and the caption of figure 6.
CLAIMS = (
    Claim(PLAIN, "saves more than 6 % (about -6 % or lower)"),
    Claim(GDN, "saves less than without GDN"),
)


def main(argv: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--plain", nargs="+", metavar="WEIGHTS", help="MBT-Paon without GDN")
    parser.add_argument("--gdn", nargs="+", metavar="WEIGHTS", help="MBT-Paon with GDN")
    arguments = parser.parse_args(argv)
    curves = {PLAIN: arguments.plain, GDN: arguments.gdn}
    if not any(curves.values()):
        parser.error("nothing to measure: give --plain, --gdn or both")
    for name, weights in curves.items():
        for path in weights or ():
            check_network(path, "mbt-paon", gdn=name == GDN)
    options, anchor = options_of(arguments), published("mbt2018")
    results = [
        measured_curve(name, weights, arguments.images, arguments.out, options)
        for name, weights in curves.items()
        if weights
    ]
    written = draw("figure6", results, anchor, arguments.out)
    print(report(results, anchor, CLAIMS))
    print("written:", *written)


if __name__ == "__main__":
    run(main)
