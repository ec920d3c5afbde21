import socket

import pytest
from pydantic import SecretStr

from edge.asking.exchange import Exchange
from shared.errors import InvalidConfig, Unreachable

URL = "http://teacher.test:8000"


def test_a_server_that_takes_a_question_and_says_nothing_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        exchange = Exchange(url, SecretStr("k"), timeout=0.05, patience=0)
        with exchange, pytest.raises(Unreachable, match="ReadTimeout"):
            exchange.post("/v2/models/teacher/infer", b"{}", {})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://host:99999",
        "http://host:port",
        "http://host/?a=1",
        "http://a b",
        "http://a..b",
    ],
)
def test_a_url_that_cannot_be_is_a_configuration_error(url: str) -> None:
    with pytest.raises(InvalidConfig, match=r"http://127\.0\.0\.1:8000"):
        Exchange(url, SecretStr("k"))


def test_neither_a_password_in_the_url_nor_a_bad_key_is_printed() -> None:
    with pytest.raises(InvalidConfig) as in_url:
        Exchange("http://user:s3cret@host", SecretStr("k"))
    with pytest.raises(InvalidConfig) as in_key:
        Exchange(URL, SecretStr("s3cret\n"))
    assert "s3cret" not in str(in_url.value) + str(in_key.value)
