"""TLS contexts from certificates and keys that are in memory."""

import os
import ssl

from neaptide.kubeapi.config import Tls
from neaptide.kubeapi.credentials import Identity, read
from neaptide.kubeapi.errors import ConfigError


def client_context(tls: Tls, identity: Identity) -> ssl.SSLContext:
    """A context that knows the server as `tls` says, and shows the identity's certificate. Raises ConfigError."""
    authorities = read(tls.authorities, "certificate-authority") if tls.authorities else None
    try:
        context = ssl.create_default_context(cadata=authorities.decode() if authorities else None)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"certificate-authority: certificates in PEM are accepted: {error}") from None
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if identity.certificate:
        try:
            load_chain(context, identity.certificate, identity.key)
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
