"""When certificates are renewed, and what trusts them."""

import ssl

import msgspec
import pytest
from cryptography import x509

from neaptide.kubeapi.keys import AUTHORITY_DAYS, SERVING_DAYS, Keys, renewed
from neaptide.kubeapi.secret import Secret
from neaptide.kubeapi.tls import load_chain

NAMES = ["neaptide.system.svc", "127.0.0.1"]
DAY = 86_400.0
NOW = 1_800_000_000.0


def made(names: list[str] = NAMES, now: float = NOW, before: Keys | None = None) -> Keys:
    found = renewed(before, names, now)
    assert found
    return found


def authorities(keys: Keys) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(keys.bundle)


def test_new_keys_are_for_the_names_and_of_the_authority() -> None:
    keys = made()
    certificate = x509.load_pem_x509_certificate(keys.certificate)
    certificate.verify_directly_issued_by(authorities(keys)[0])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == NAMES[:1]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == NAMES[1:]
    load_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), keys.certificate, keys.key)


def test_a_certificate_stays_for_two_thirds_of_its_time_and_its_authority_stays_longer() -> None:
    keys = made()
    assert renewed(keys, NAMES, NOW + SERVING_DAYS * DAY * 0.66) is None
    later = made(now=NOW + SERVING_DAYS * DAY * 0.67, before=keys)
    assert later.certificate != keys.certificate
    assert later.bundle == keys.bundle


def test_a_new_authority_stands_beside_the_old_one_until_that_ends() -> None:
    keys = made()
    at = NOW + AUTHORITY_DAYS * DAY * 0.67
    later = made(now=at, before=keys)
    assert [*authorities(later)[1:]] == authorities(keys)
    x509.load_pem_x509_certificate(later.certificate).verify_directly_issued_by(authorities(later)[0])
    last = made(now=NOW + AUTHORITY_DAYS * DAY + DAY, before=later)
    assert authorities(last) == authorities(later)[:1]


@pytest.mark.parametrize(
    "change",
    [{"key": Secret(b"x")}, {"certificate": b"x"}, {"bundle": b""}, {"authority_key": Secret(b"x")}, {"key": made().key}],
    ids=["no key", "no certificate", "no authority", "no key of the authority", "the key of another certificate"],
)  # fmt: skip
def test_keys_that_are_broken_are_replaced(change: dict[str, bytes]) -> None:
    keys = made()
    found = made(before=msgspec.structs.replace(keys, **change))
    assert renewed(found, NAMES, NOW) is None


def test_other_names_want_another_certificate_of_the_same_authority() -> None:
    keys = made()
    assert made(["other"], before=keys).bundle == keys.bundle
    assert renewed(keys, NAMES[::-1], NOW) is None


def test_keys_are_not_shown() -> None:
    assert "PRIVATE" not in repr(made())
