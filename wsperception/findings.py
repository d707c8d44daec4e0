"""What the doctor finds: one line each, with what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass

OK, NOTE, WARN, ERROR = "ok", "note", "warn", "error"
LEVELS = (OK, NOTE, WARN, ERROR)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    level    ok; note: absent, but not needed for all; warn: works, worse; error: does not work
    advice   what to do about it; "" where there is nothing to do
    """

    level: str
    subject: str
    text: str
    advice: str = ""


def report(findings: Sequence[Finding]) -> str:
    """One line per finding, its advice indented below, and a last line that counts the levels."""
    width = max((len(finding.subject) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<6}{finding.subject:<{width}}  {finding.text}")
        if finding.advice:
            lines.append(f"{'':<6}{'':<{width}}  -> {finding.advice}")
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    lines.append(", ".join(f"{counts[level]} {level}" for level in LEVELS))
    return "\n".join(lines)
