"""`make bench`: ratios measured side by side in one run, as a table and in bench.json.

A peer that this platform cannot load is left out, and the run says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nnie_pipeline.errors import InputError
from nnie_pipeline.files import to_json, write_text
from tests.bench import (
    caffe_networks,
    calibration,
    calibration_sets,
    comparison,
    compiled,
    conversions,
    networks,
    quantiser,
    sizes,
    startup,
    whole_run,
)

Row = dict[str, str | int | float]


def main() -> None:
    """Measure everything, print one line a row, write bench.json."""
    rows: list[Row] = []
    # Child processes first: the peak of memory is that of the largest child.
    for measure in (
        whole_run.measure, startup.measure, _quantiser, sizes.measure, compiled.measure,
        calibration_sets.measure, networks.measure, calibration.measure, comparison.measure,
        caffe_networks.measure, conversions.measure,
    ):  # fmt: skip
        for row in measure():
            row["held"] = _held(row)
            sys.stdout.write(_line(row) + "\n")
            sys.stdout.flush()
            rows.append(row)
    write_text(Path("bench.json"), to_json({"rows": rows}))


def _quantiser() -> list[Row]:
    try:
        return [{**quantiser.measure(bits), "least_ratio": 15.0} for bits in (8, 16)]
    except InputError as error:
        sys.stdout.write(f"left out: {error}\n")
        return []


def _line(row: Row) -> str:
    parts = [f"{row['name']:<42}"]
    if "ours_s" in row:
        parts.append(f"{row['ours_s']:8.3f} s")
    if "megabytes" in row:
        parts.append(f"{row['megabytes']:8.0f} MB")
    if "peer_s" in row:
        parts.append(f"{row['peer']}: {row['peer_s']:.3f} s")
    if "ratio" in row:
        parts.append(f"{row['ratio']:.1f} times as fast (at least {row['least_ratio']:g})")
    if "times_the_peer" in row:
        parts.append(f"{row['times_the_peer']:.2f} times its time (at most {row['limit_times']:g})")
    if "passes" in row:
        parts.append(f"{row['passes']:.1f} forward passes (at most {row['limit_passes']:g})")
    if "limit_s" in row:
        parts.append(f"(at most {row['limit_s']:g} s)")
    if "limit_megabytes" in row:
        parts.append(f"(at most {row['limit_megabytes']:g} MB)")
    if not row["held"]:
        parts.append("MISSED")
    return "  ".join(parts)


def _held(row: Row) -> bool:
    """Whether the row keeps all limits it names."""
    at_most = (
        ("ours_s", "limit_s"),
        ("megabytes", "limit_megabytes"),
        ("times_the_peer", "limit_times"),
        ("passes", "limit_passes"),
    )
    kept = all(float(row[x]) <= float(row[limit]) for x, limit in at_most if limit in row)
    return kept and float(row.get("ratio", 0)) >= float(row.get("least_ratio", 0))


if __name__ == "__main__":
    main()
