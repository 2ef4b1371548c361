"""The verdict on a build: what keeps the network from the board, if anything does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from nnie_pipeline.report.texts import LANGUAGES, Texts


@dataclass(frozen=True)
class Verdict:
    """`status` in words, and the reasons, worst first."""

    status: Literal["ready", "ready with warnings", "not ready"]
    reasons: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether `nnie run` ends with status 1."""
        return self.status == "not ready"


def verdict(
    findings: list[dict[str, Any]], evaluation: dict[str, Any] | None, language: str = LANGUAGES[0]
) -> Verdict:
    """Judge the rule findings (as `check --json` has them) and the evaluation, if any.

    The reasons are in `language`; what a rule says is in English in any.

    A layer's cosine never decides: 8-bit layers under 0.99 are normal.
    """
    t = Texts(language)
    errors = [
        f"{x['layer']}: {x['message']} ({x['id']})" for x in findings if x["severity"] == "error"
    ]
    bars = []
    if evaluation is not None:
        bars = [*evaluation["bars"], *evaluation.get("cosine_bars", [])]
    missed = [_missed(x, t) for x in bars if not x["passed"]]
    counts = Counter(x["id"] for x in findings if x["severity"] == "warning")
    warnings = [f"{number} x {rule}" for rule, number in counts.items()]
    if evaluation is not None and not bars:
        warnings.append(t.plain("reasons.unjudged"))
    if errors or missed:
        return Verdict("not ready", (*errors, *missed, *warnings))
    if warnings:
        return Verdict("ready with warnings", tuple(warnings))
    return Verdict("ready", ())


def _missed(bar: dict[str, Any], t: Texts) -> str:
    values = {
        "picture": bar["picture"],
        "run": t.plain("reasons.float" if bar["run"] == "float" else "reasons.bits", **bar),
        "against": t.plain(f"reasons.{'onnx' if bar['against'] == 'onnx' else 'net'}"),
    }
    if "cosine" in bar:
        return t.plain(
            "reasons.cosine", cosine=f"{bar['cosine']:.5f}", limit=f"{bar['limit_cosine']:g}",
            **values,
        )  # fmt: skip
    if not bar["same_faces"]:
        return t.plain("reasons.other", **values)
    return t.plain(
        "reasons.moved", pixels=f"{bar['pixels']:.2f}", limit=f"{bar['limit_pixels']:g}", **values
    )
