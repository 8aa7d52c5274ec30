"""What the issuer tells Prometheus."""

from tests.issuer.conftest import START_S, Clock, MakeIssuer, log_in, serving

DAY_S = 24 * 3600


def test_the_key_that_signs_is_due_after_its_days_and_a_new_one_later(make_issuer: MakeIssuer) -> None:
    clock = Clock(START_S)
    issuer = make_issuer(clock, key_days=30)
    first = issuer.keys.signing().kid
    due = issuer.keys.due_s()
    assert list(due) == [first]
    clock.move(20 * DAY_S)
    issuer.keys.rotate()
    assert list(issuer.keys.due_s().values()) == [clock.now_s + 30 * DAY_S]
    assert first not in issuer.keys.due_s()


def test_logins_and_keys_are_told_on_the_issuers_own_address(make_issuer: MakeIssuer) -> None:
    with serving(make_issuer(real_time=True)) as client:
        assert log_in(client).status_code == 200
        assert log_in(client, password="wrong").status_code == 400
        text = client.get("/metrics").text
        assert client.get("/metrics", headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 404
    assert 'ai102_http_requests_total{route="/auth/token",status="200"} 1.0' in text
    assert 'ai102_http_requests_total{route="/auth/token",status="400"} 1.0' in text
    assert 'ai102_signing_key_expiry_timestamp_seconds{key="' in text
