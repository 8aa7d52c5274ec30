"""Whether the canary reads what the version in service reads: other file formats, sizes and lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ai102.judging.answers import Compared, compared, cosine_distance
from ai102.judging.checks.agree import far
from ai102.judging.error_rates import SHARES
from ai102.judging.finding import Finding
from ai102.judging.forms import IMAGE_FORMS, LENGTHS, TEXT_FORMS
from ai102.judging.record import Record
from ai102.judging.sequential import first_crossing, log_wealth
from ai102.judging.subject import Subject

ALLOWED = 0.02
MOST_FORMS = max(len(IMAGE_FORMS), len(LENGTHS) + len(TEXT_FORMS))


def formats(record: Record, part: float) -> Iterator[Finding]:
    """Samples in another form that the version in service answers rightly and the canary does not, or refuses."""
    rows = [one for one in compared(record, None, "form") if one.primary and not one.primary.fault]
    if not rows:
        return
    lost = np.array([float(_is_lost(record.subject, one)) for one in rows])
    asked, failed = (
        Counter(one.form for one in rows),
        Counter(one.form for one, bad in zip(rows, lost, strict=True) if bad),
    )
    # One half of the error rate for all forms together, the other for each by itself.
    level = SHARES["formats"] * part / 2
    groups = [(lost, level)]
    groups += [(lost[[one.form == form for one in rows]], level / MOST_FORMS) for form in failed]
    is_stopped = any(first_crossing(log_wealth(group, ALLOWED, 0.0), alpha) is not None for group, alpha in groups)
    facts = {
        "answers": len(rows),
        "lost": int(lost.sum()),
        "by form": {form: [failed[form], asked[form]] for form in asked},
    }
    says = f"{int(lost.sum())} of {len(rows)} samples in other formats, sizes or lengths lost"
    if failed:
        says += ": " + ", ".join(f"{failed[form]} of {asked[form]} {form}" for form, _ in failed.most_common(3))
    yield Finding("formats", record.subject.name, "stop" if is_stopped else "quiet", says, facts)


def _is_lost(subject: Subject, one: Compared) -> bool:
    if one.canary is None or one.canary.fault:
        return True
    assert one.primary is not None
    if not subject.is_labelling:
        return cosine_distance(one.canary, one.primary) > 1 - far(subject.network.budget)
    wanted = subject.labels[one.position] if subject.labels is not None and one.position >= 0 else one.primary.label
    return bool(one.primary.label == wanted and one.canary.label != wanted)
