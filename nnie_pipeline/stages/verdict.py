"""The verdict on a build: what keeps the network from the board, if anything does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Verdict:
    """`status` in words, and the reasons, worst first."""

    status: Literal["ready", "ready with warnings", "not ready"]
    reasons: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether `nnie run` ends with status 1."""
        return self.status == "not ready"


def verdict(findings: list[dict[str, Any]], evaluation: dict[str, Any] | None) -> Verdict:
    """Judge the rule findings (as `check --json` has them) and the evaluation, if any.

    A layer's cosine never decides: 8-bit layers under 0.99 are normal.
    """
    errors = [
        f"{x['layer']}: {x['message']} ({x['id']})" for x in findings if x["severity"] == "error"
    ]
    bars = []
    if evaluation is not None:
        bars = [*evaluation["bars"], *evaluation.get("cosine_bars", [])]
    missed = [_missed(x) for x in bars if not x["passed"]]
    counts = Counter(x["id"] for x in findings if x["severity"] == "warning")
    warnings = [f"{number} x {rule}" for rule, number in counts.items()]
    if evaluation is not None and not bars:
        warnings.append(
            "on no picture does the original model find exactly one thing: nothing is judged"
        )
    if errors or missed:
        return Verdict("not ready", (*errors, *missed, *warnings))
    if warnings:
        return Verdict("ready with warnings", tuple(warnings))
    return Verdict("ready", ())


def _missed(bar: dict[str, Any]) -> str:
    name = "float Caffe network" if bar["run"] == "float" else f"{bar['run']}-bit simulation"
    against = "the original model" if bar["against"] == "onnx" else "the float network"
    if "cosine" in bar:
        return (
            f"{bar['picture']}: the {name}'s embedding has a cosine of {bar['cosine']:.5f} with "
            f"that of {against} (limit {bar['limit_cosine']:g})"
        )
    if not bar["same_faces"]:
        return f"{bar['picture']}: the {name} does not find what {against} finds"
    return (
        f"{bar['picture']}: the {name} moves a point by {bar['pixels']:.2f} px against {against} "
        f"(limit {bar['limit_pixels']:g})"
    )
