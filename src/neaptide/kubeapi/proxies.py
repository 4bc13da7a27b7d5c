"""Which proxy leads to a server: the variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY as Go programs read them."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from neaptide.kubeapi.errors import ConfigError

_PORTS = {"http": 80, "https": 443}


def proxy_for(server: str, environment: Mapping[str, str]) -> str:
    """The proxy's URL, empty where none is to be used. Raises ConfigError."""
    scheme = urlsplit(server).scheme
    name = f"{scheme}_proxy"
    found = environment.get(name.upper()) or environment.get(name) or ""
    if not found or _spared(server, environment.get("NO_PROXY") or environment.get("no_proxy") or ""):
        return ""
    return checked(found if "://" in found else f"http://{found}", name.upper())


def checked(proxy: str, where: str) -> str:
    """The URL of a proxy that can be used. Raises ConfigError."""
    parts = urlsplit(proxy)
    if parts.scheme not in _PORTS or not parts.hostname:
        shown = f"{parts.scheme}://{parts.hostname}"
        raise ConfigError(f"{where}: {shown} is not accepted; accepted: http://host:port or https://host:port")
    return proxy


def _spared(server: str, spared: str) -> bool:
    """Whether a server is on a list of names, domains, addresses and networks, and never asked through a proxy.

    `example.com` means it and what is below it, `.example.com` what is below it; `*` means all; a port may follow.
    """
    parts = urlsplit(server)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _PORTS.get(parts.scheme, 0)
    try:
        address = ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address and address.is_loopback):
        return True
    for entry in (each.strip().lower() for each in spared.split(",")):
        if entry == "*":
            return True
        if "/" in entry:
            if address and _inside(host, entry):
                return True
            continue
        name, _, wanted = entry.rpartition(":") if entry.count(":") == 1 or "]:" in entry else (entry, "", "")
        if wanted and wanted != str(port):
            continue
        name = name.strip("[]").removeprefix("*")
        below = name if name.startswith(".") else f".{name}"
        if name and (host == name or (not address and host.endswith(below))):
            return True
    return False


def _inside(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False
