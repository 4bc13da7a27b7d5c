"""An authority and a serving certificate of our own: elliptic curves, PEM, and when they have to be renewed.

A serving certificate holds for 90 days, an authority for 10 years; each is renewed when a third of that is left. A new authority stands in
the bundle before the old ones for as long as those hold, so that who trusts the bundle trusts the old and the new certificate.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from neaptide.kubeapi.secret import Secret

AUTHORITY_DAYS, SERVING_DAYS = 3650, 90
RENEWED_AT = 2 / 3
"""The part of a certificate's time after which it is renewed."""
_EARLIER = timedelta(minutes=10)
"""Certificates begin in the past, for clients whose clocks are behind."""


class Keys(Struct, frozen=True):
    """Certificates and keys in PEM.

    Attributes:
        bundle: the authorities to trust, the newest first: a webhook's `caBundle`.
        authority_key: of the newest authority.
        certificate: what the server shows.
        key: of that certificate.
    """

    bundle: bytes
    authority_key: Secret
    certificate: bytes
    key: Secret


def renewed(keys: Keys | None, names: Sequence[str], now: float) -> Keys | None:
    """New keys for a server with these DNS names and addresses; None where the given ones still do. `now` in epoch seconds.

    Keys that cannot be read, do not fit together or are for other names are replaced.
    """
    if not names:
        raise ValueError("a server has at least one name")
    at = datetime.fromtimestamp(now, UTC)
    authorities, signer = _authorities(keys, at)
    if keys and signer and _serves(keys, authorities[0], names, at):
        return None
    if signer is None:
        signer, authority = _new_authority(at)
        authorities = [authority, *authorities]
    key, certificate = _new_serving(authorities[0], signer, names, at)
    bundle = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in authorities)
    return Keys(bundle, _pem(signer), certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def _authorities(keys: Keys | None, at: datetime) -> tuple[list[x509.Certificate], ec.EllipticCurvePrivateKey | None]:
    """The authorities that still hold, the newest first, and its key where it may sign."""
    if keys is None:
        return [], None
    try:
        found = [each for each in x509.load_pem_x509_certificates(keys.bundle) if each.not_valid_after_utc > at]
        signer = _private(keys.authority_key)
    except ValueError:
        return [], None
    may_sign = bool(found) and found[0].public_key() == signer.public_key() and not _ageing(found[0], at)
    return found, signer if may_sign else None


def _serves(keys: Keys, authority: x509.Certificate, names: Sequence[str], at: datetime) -> bool:
    """Whether the serving certificate is the newest authority's, for these names and not about to end."""
    try:
        found = x509.load_pem_x509_certificate(keys.certificate)
        found.verify_directly_issued_by(authority)
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        fits = found.public_key() == _private(keys.key).public_key()
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return fits and set(alternatives) == set(_alternatives(names)) and not _ageing(found, at)


def _ageing(certificate: x509.Certificate, at: datetime) -> bool:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return not begin <= at < begin + (end - begin) * RENEWED_AT


def _new_authority(at: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"neaptide authority of {at:%Y-%m-%d}")])
    certificate = (
        _begun(name, name, key, at, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _new_serving(
    authority: x509.Certificate, signer: ec.EllipticCurvePrivateKey, names: Sequence[str], at: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "neaptide")])
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    certificate = (
        _begun(subject, authority.subject, key, at, SERVING_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(above, critical=False)
        .sign(signer, hashes.SHA256())
    )
    return key, certificate


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, at: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _EARLIER)
        .not_valid_after(at + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    def general(name: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    return [general(name) for name in names]


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises ValueError where it is not the key of an elliptic curve."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("a key of an elliptic curve is accepted")  # noqa: TRY004 - a value of a file
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> Secret:
    form = serialization.PrivateFormat.PKCS8
    return Secret(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
