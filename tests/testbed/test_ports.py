"""Ports are free when they are given out, stay where they were, and differ."""

import socket

from neaptide.testbed import ports


def test_a_port_that_is_listened_on_is_not_free_and_not_given_again() -> None:
    before = ports.assign(["a", "b"], {})
    assert len(set(before.values())) == 2
    with socket.create_server(("127.0.0.1", before["a"])):
        assert not ports.is_free(before["a"])
        after = ports.assign(["a", "b"], before)
    assert after["a"] != before["a"]
    assert after["b"] == before["b"]


def test_a_port_whose_last_connection_has_just_closed_is_free() -> None:
    (port,) = ports.assign(["a"], {}).values()
    with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)):
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first is the one that waits
    assert ports.is_free(port)
