"""Whom the Replicate provider believes that a webhook comes from Replicate."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

import pytest

from genyard.providers.replicate.signature import could_be_signed, is_signed

SECRET: Final = "whsec_" + base64.b64encode(b"a secret of some bytes!!").decode()
OTHER: Final = "whsec_" + base64.b64encode(b"another secret of bytes!").decode()
NOW: Final = 1_790_000_000.0
BODY: Final = b'{"id":"p1","status":"succeeded"}'


def signed(
    body: bytes = BODY, *, at: float = NOW, secret: str = SECRET, name: str = "msg_1"
) -> dict[str, str]:
    """Written down once more, from the specification: not by the code under test."""
    text = f"{name}.{int(at)}.{body.decode()}"
    digest = hmac.new(base64.b64decode(secret[6:]), text.encode(), hashlib.sha256).digest()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def heard(headers: dict[str, str], body: bytes = BODY, *, now: float = NOW) -> bool:
    return could_be_signed(headers, now) and is_signed(headers, body, SECRET)


def test_a_good_signature_is_heard() -> None:
    assert heard(signed())


def test_the_sample_of_the_standard_webhooks_specification() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert is_signed(headers, b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def test_one_good_signature_among_several_is_enough() -> None:
    """While a secret is being changed there are two."""
    headers = signed()
    headers["webhook-signature"] = f"v1,{'A' * 44} v2,x {headers['webhook-signature']}"
    assert heard(headers)


def test_a_signature_of_another_version_is_not_heard() -> None:
    headers = signed()
    assert not heard(headers | {"webhook-signature": headers["webhook-signature"].replace("v1,", "v1a,")})


def test_another_secrets_signature_is_not_heard() -> None:
    assert not heard(signed(secret=OTHER))


def test_a_changed_body_is_not_heard() -> None:
    assert not heard(signed(), BODY.replace(b"succeeded", b"failed"))


@pytest.mark.parametrize("seconds", [-301, 301, 3600])
def test_an_old_or_future_time_is_not_heard(seconds: float) -> None:
    assert not heard(signed(at=NOW + seconds))
    assert heard(signed(at=NOW + seconds), now=NOW + seconds)


def test_a_time_that_was_changed_is_not_heard() -> None:
    headers = signed(at=NOW - 1000) | {"webhook-timestamp": str(int(NOW))}
    assert not heard(headers)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_not_heard(name: str) -> None:
    headers = signed()
    del headers[name]
    assert not heard(headers)


@pytest.mark.parametrize("value", ["", "v1", "v1,", "v1,ä", "v2,AAAA", "nonsense", "v1, "])
def test_nonsense_in_place_of_a_signature_is_not_heard(value: str) -> None:
    assert not heard(signed() | {"webhook-signature": value})


def test_a_time_that_is_no_number_is_not_heard() -> None:
    assert not heard(signed() | {"webhook-timestamp": "now"})


def test_a_secret_that_is_not_base64_hears_nobody() -> None:
    assert not is_signed(signed(), BODY, "whsec_!!!")
