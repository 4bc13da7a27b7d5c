"""TLS contexts from certificates and keys that are in memory."""

import os
import ssl
from typing import NamedTuple

from neaptide.kubeapi.config import Tls
from neaptide.kubeapi.credentials import Identity, read
from neaptide.kubeapi.errors import ConfigError
from neaptide.kubeapi.secret import Secret


class Trust(NamedTuple):
    """What a context is made of, in PEM: whom to believe (None: the system's authorities), and what to show."""

    authorities: bytes | None
    certificate: bytes
    key: Secret


def trust(tls: Tls, identity: Identity) -> Trust:
    """As files and identity are now. Raises ConfigError."""
    authorities = read(tls.authorities, "certificate-authority") if tls.authorities else None
    return Trust(authorities, identity.certificate, identity.key)


def client_context(found: Trust, *, insecure: bool) -> ssl.SSLContext:
    """A context for connections to the server. Raises ConfigError."""
    try:
        context = ssl.create_default_context(cadata=found.authorities.decode() if found.authorities else None)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"certificate-authority: certificates in PEM are accepted: {error}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if found.certificate:
        try:
            load_chain(context, found.certificate, found.key)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"client-certificate, client-key: a pair in PEM is accepted: {error}") from None
    return context


def load_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Give a context its certificate and key. OpenSSL reads them from a file: one in memory, which no disk ever holds."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(certificate.rstrip() + b"\n" + key)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
