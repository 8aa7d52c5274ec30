"""What opens, and all that does not."""

import hmac
import pickle
import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ai102_runtime.seal import envelope
from ai102_runtime.seal.envelope import (
    OUTSIDE,
    REQUEST,
    Key,
    Opened,
    SealError,
    head_of,
    open_request,
    open_response,
    seal_request,
    seal_response,
)
from ai102_runtime.seal.keys import Keys

from .seen import SeenByThisTest

NOW = 1_900_000_000_000
MODEL = "sealed_embed_text"
KEY = Key("2026-a", bytes(range(32)))
OTHER = Key("2026-b", bytes(32))
NAMESAKE = Key("2026-a", bytes(32))
RING = Keys({key.id: key for key in (KEY, OTHER)}, KEY.id)
DATA = "身份证 110101199003074578".encode()


def sealed(data: bytes = DATA, key: Key = KEY, model: str = MODEL, now: int = NOW, request_id: str = "r-1") -> bytes:
    return seal_request(key, data, model, now, request_id).envelope


def opened(message: bytes, ring: Keys = RING, now: int = NOW) -> Opened:
    return open_request(ring, message, MODEL, SeenByThisTest(), now)


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(SealError) as caught:
        action()
    assert str(caught.value) == OUTSIDE
    return caught.value.code


@pytest.mark.parametrize("size", [0, 1, 15, 16, 100_000, 5_000_001])
def test_a_request_and_its_answer_come_through_whole_at_any_size(size: int) -> None:
    data = random.Random(size).randbytes(size)
    request = seal_request(KEY, data, MODEL, NOW)
    got = opened(request.envelope)
    answer = seal_response(RING, got.head, data[::-1], NOW + 1000)
    assert (got.data, got.request_id) == (data, request.request_id)
    assert open_response(KEY, request.head, answer, NOW + 2000) == data[::-1]
    assert len(request.envelope) == len(request.head) + size + 16


def test_content_is_not_in_the_envelope_and_no_two_are_alike() -> None:
    first, second = sealed(b"a" * 1000), sealed(b"a" * 1000)
    assert b"aaaa" not in first
    assert first[-1016:] != second[-1016:]


def at(place: int, bits: int = 1) -> Callable[[bytes], bytes]:
    return lambda whole: whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :]


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "nothing": (lambda: opened(b""), "format"),
    "no envelope": (lambda: opened(b"\x89PNG" * 30), "format"),
    "another format": (lambda: opened(at(3)(sealed())), "format"),
    "cut in the head": (lambda: opened(sealed()[:40]), "format"),
    "cut in the tag": (lambda: opened(sealed(b"")[:-1]), "format"),
    "cut by a byte": (lambda: opened(sealed()[:-1]), "tag"),
    "a byte more": (lambda: opened(sealed() + b"\0"), "tag"),
    "two in one": (lambda: opened(sealed() + sealed()), "tag"),
    "first byte of content": (lambda: opened(at(-len(DATA) - 16)(sealed())), "tag"),
    "last byte of tag": (lambda: opened(sealed()[:-1] + bytes([sealed()[-1] ^ 1])), "tag"),
    "another time": (lambda: opened(at(12)(sealed())), "tag"),
    "another request id": (lambda: opened(sealed().replace(b"r-1", b"r-2")), "tag"),
    "another model": (lambda: opened(sealed(model="sealed_embed_tex2").replace(b"tex2", b"text")), "tag"),
    "unknown key": (lambda: opened(sealed(key=Key("2026-c", bytes(32)))), "key"),
    "retired key": (lambda: opened(sealed(), Keys({OTHER.id: OTHER}, OTHER.id)), "key"),
    "another key of the same id": (lambda: opened(sealed(key=NAMESAKE)), "tag"),
    "another key's id": (lambda: opened(sealed().replace(b"2026-a", b"2026-b")), "tag"),
    "path as key id": (lambda: opened(sealed().replace(b"2026-a", b"../../")), "format"),
    "sealed for another model": (lambda: opened(sealed(model="sealed_classify_image")), "model"),
    "too old": (lambda: opened(sealed(), now=NOW + 120_001), "time"),
    "from the future": (lambda: opened(sealed(), now=NOW - 120_001), "time"),
    "another model, too old": (lambda: opened(sealed(model="m"), now=NOW + 999_999), "model"),
    "a response as request": (lambda: opened(seal_response(RING, sealed(), DATA, NOW)), "format"),
    "a response called request": (lambda: opened(at(4, 3)(seal_response(RING, sealed(), DATA, NOW))), "tag"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_the_request_as_sealed_is_refused(name: str) -> None:
    action, code = REFUSED[name]
    assert code_of(action) == code


@pytest.mark.parametrize("late_ms", [-120_000, 0, 120_000])
def test_a_clock_off_by_less_than_the_window_is_accepted(late_ms: int) -> None:
    assert opened(sealed(), now=NOW + late_ms).data == DATA


def test_a_request_opens_once() -> None:
    seen, message = SeenByThisTest(), sealed()
    assert open_request(RING, message, MODEL, seen, NOW).data == DATA
    assert code_of(lambda: open_request(RING, message, MODEL, seen, NOW + 119_000)) == "replay"
    assert open_request(RING, sealed(), MODEL, seen, NOW).data == DATA  # the same content sealed anew


def test_a_request_that_was_refused_is_not_remembered() -> None:
    seen, message = SeenByThisTest(), sealed()
    assert code_of(lambda: open_request(RING, message, "other", seen, NOW)) == "model"
    assert open_request(RING, message, MODEL, seen, NOW).data == DATA


def test_every_byte_of_an_envelope_counts() -> None:
    chance = random.Random(6)
    message = sealed()
    codes = {code_of(lambda flip=flip: opened(flip(message))) for flip in flips(message, chance)}
    assert codes == {"format", "key", "tag"}
    cuts = {code_of(lambda end=end: opened(message[:end])) for end in range(len(message))}
    assert cuts == {"format", "tag"}


def test_every_byte_of_an_answer_counts() -> None:
    request = seal_request(KEY, DATA, MODEL, NOW)
    answer = seal_response(RING, request.head, DATA, NOW)
    chance = random.Random(7)
    for flip in flips(answer, chance):
        code_of(lambda flip=flip: open_response(KEY, request.head, flip(answer), NOW))


def flips(message: bytes, chance: random.Random) -> list[Callable[[bytes], bytes]]:
    return [at(place, 1 << chance.randrange(8)) for place in range(len(message))]


def test_an_answer_fits_its_own_request_alone() -> None:
    first, second = (seal_request(KEY, DATA, MODEL, NOW, "r-1") for _ in range(2))
    answer = seal_response(RING, first.head, b"yes", NOW)
    assert open_response(KEY, first.head, answer, NOW) == b"yes"
    assert code_of(lambda: open_response(KEY, second.head, answer, NOW)) == "tag"
    assert code_of(lambda: open_response(OTHER, first.head, answer, NOW)) == "key"
    assert code_of(lambda: open_response(NAMESAKE, first.head, answer, NOW)) == "tag"
    assert code_of(lambda: open_response(KEY, first.head, answer, NOW + 120_001)) == "time"
    assert code_of(lambda: open_response(KEY, first.head, first.envelope, NOW)) == "format"
    assert code_of(lambda: open_response(KEY, first.head, at(4, 3)(first.envelope), NOW)) == "tag"


def test_the_head_of_a_request_says_what_is_in_clear() -> None:
    head = head_of(sealed(), REQUEST)
    assert (head.time_ms, head.key_id, head.request_id, head.model) == (NOW, "2026-a", "r-1", MODEL)


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (lambda: sealed(model="a/b"), "name"),
        (lambda: sealed(model=""), "name"),
        (lambda: sealed(request_id="r" * 65), "name"),
        (lambda: sealed(request_id="a\nb"), "name"),
        (lambda: sealed(b"x" * 101), "size"),
    ],
)
def test_what_cannot_be_sealed_is_said_plainly(
    action: Callable[[], object], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelope, "MAX_PAYLOAD_BYTES", 100)
    with pytest.raises(SealError) as caught:
        action()
    assert (caught.value.code, str(caught.value)) == (code, caught.value.detail)


def test_a_larger_envelope_than_allowed_is_not_even_decrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    message = sealed(b"x" * 101)
    monkeypatch.setattr(envelope, "MAX_PAYLOAD_BYTES", 100)
    assert code_of(lambda: opened(message)) == "format"


def test_a_key_stops_at_its_number_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MAX_MESSAGES", 3)
    key = Key("few", bytes(32))
    for _ in range(3):
        sealed(key=key)
    with pytest.raises(SealError, match="key few has sealed 3 messages: rotate it"):
        sealed(key=key)


@pytest.mark.parametrize(
    ("key_id", "secret"), [("A", bytes(32)), ("", bytes(32)), ("../a", bytes(32)), ("a", b"short")]
)
def test_a_key_has_a_plain_id_and_256_bits(key_id: str, secret: bytes) -> None:
    with pytest.raises(ValueError, match=r"is no key id|has 5 bytes, not 32"):
        Key(key_id, secret)


def test_a_key_does_not_show_its_secret() -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    key = Key("a", secret)
    shown = f"{key} {key!r} {[key]} {key.fingerprint}"
    assert not any(part in shown for part in ("01234567", secret.hex()[:8]))
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_another_implementation_opens_both_ways_by_the_description() -> None:
    request = seal_request(KEY, DATA, MODEL, NOW, "r-1")
    answer = seal_response(RING, request.head, b"yes", NOW)
    opened = []
    for way, whole, bound in ((1, request.envelope, b""), (2, answer, request.head)):
        extracted = hmac.digest(bytes(32), bytes(range(32)), "sha256")  # RFC 5869, 2.2 and 2.3, in two lines
        subkey = hmac.digest(extracted, b"ai102 envelope 1 %d\x01" % way, "sha256")
        head = len(request.head)  # the names in both are the same
        opened.append(AESGCM(subkey).decrypt(whole[head - 12 : head], whole[head:], whole[:head] + bound))
    assert opened == [DATA, b"yes"]


def test_the_format_stays_as_it_is() -> None:
    steady = seal_request(KEY, b"hello", "m", NOW, "r", random=lambda length: bytes(length))
    assert steady.envelope.hex() == (
        "4149533101000001ba60d3380006323032362d610172016d000000000000000000000000"
        "da0b13cb635bfa68cf3c925a0237f22ddca91b5f7c"
    )
