"""Figure 7: ELIC-Paon against ELIC, both compared with Cheng 2020 (a: curves, b: rate saved).

    python tools/paper/figure7.py --images KODAK --elic-paon W1 W2 W3 W4 W5 W6

The weights are those of one λ each, or of one file for all. ELIC is the curve of its paper, Cheng
2020 CompressAI's published `cheng2020-anchor`.
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

NAME = "elic-paon"
# IV-B3: "saves more than 1 % bit rate compared to the original ELIC", both against Cheng 2020.
CLAIMS = (Claim(NAME, "more than 1 point lower than ELIC"),)


def main(argv: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--elic-paon", nargs="+", required=True, metavar="WEIGHTS")
    arguments = parser.parse_args(argv)
    for path in arguments.elic_paon:
        check_network(path, NAME)
    options, anchor = options_of(arguments), published("cheng2020-anchor")
    ours = measured_curve(NAME, arguments.elic_paon, arguments.images, arguments.out, options)
    results = [ours, published("elic2022")]
    written = draw("figure7", results, anchor, arguments.out)
    print(report(results, anchor, CLAIMS))
    print("written:", *written)


if __name__ == "__main__":
    run(main)
