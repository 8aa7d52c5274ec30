"""Whether the gateway's certificate still holds, and whether cert-manager can renew it."""

from __future__ import annotations

from collections.abc import Iterator

from ai102.cluster.facts import Facts
from ai102.cluster.finding import Finding, command, line

DAY_S = 86400.0
# As the alert CertificateExpires of monitoring/.
SOON_S = 21 * DAY_S


def certificate_ends(facts: Facts) -> Iterator[Finding]:
    certificate = facts.certificate
    if certificate is None:
        return
    left_s = certificate.ends_s - facts.now_s
    about = f"certificate {certificate.secret}"
    mend = (
        f"renew it: `ai102 kubernetes secrets --namespace {facts.namespace}` or cert-manager; then"
        f" {command(facts, 'rollout restart deployment gateway')}"
    )
    if left_s <= 0:
        why = f"it expired {-left_s / DAY_S:.0f} days ago: callers refuse the gateway"
        yield Finding("certificate_ends", "wrong", about, why, mend)
    elif left_s < SOON_S:
        yield Finding("certificate_ends", "note", about, f"it expires in {left_s / DAY_S:.0f} days", mend)


def certificate_is_not_issued(facts: Facts) -> Iterator[Finding]:
    for issued in facts.issued:
        if not issued.is_ready:
            why = f"cert-manager cannot issue it: {line(issued.message)}"
            mend = f"{command(facts, f'describe certificate {issued.name}')}; is there the ClusterIssuer that it names?"
            yield Finding("certificate_is_not_issued", "wrong", f"certificate {issued.name}", why, mend)
