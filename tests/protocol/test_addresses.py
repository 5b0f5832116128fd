"""Addresses: TLS off this machine."""

import pytest

from hushfold_protocol.addresses import check_address, is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_this_machine(host):
    assert is_loopback(host)
    check_address(f"http://{f'[{host}]' if ':' in host else host}:8000/path/")


@pytest.mark.parametrize(
    "host", ["hushfold.example", "10.0.0.1", "0.0.0.0", "::", "localhost.example", "127.0.0.1.example"]
)
def test_other_machines_need_tls(host):
    assert not is_loopback(host)
    address = f"[{host}]" if ":" in host else host
    check_address(f"https://{address}")
    with pytest.raises(ValueError, match="TLS is required"):
        check_address(f"http://{address}")


@pytest.mark.parametrize(
    "url", ["", "hushfold.example", "ftp://localhost/", "file:///etc/hosts", "https://", "//host/"]
)
def test_what_is_no_address_of_a_server(url):
    with pytest.raises(ValueError, match="is not the address"):
        check_address(url)
