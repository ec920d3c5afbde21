"""What may befall an exchange on its way, for `tests/chaos_proxy.py`: lost, cut, doubled, late, no HTTP."""

import asyncio
from collections.abc import Callable

from tests.chaos_proxy import END_OF_HEAD, Fault, Transit

SHORT_DELAY = 0.05  # seconds
RETRY_AFTER = 7  # seconds


async def _refused(transit: Transit) -> None:
    transit.reset()
    transit.proxy.refuse()


async def _closed_on_accept(transit: Transit) -> None:
    transit.reset()
    transit.proxy.close_next()


async def _reset_before_the_server(transit: Transit) -> None:
    transit.reset()


async def _reset_in_the_request(transit: Transit) -> None:
    request = await transit.request()
    body = len(request) - len(transit.head)
    server = await transit.sent(request[: -body // 2] if body else request[: len(request) // 2])
    server.reset()
    transit.reset()


async def _reset_after_the_request(transit: Transit) -> None:
    server = await transit.sent(await transit.request())
    transit.reset()
    await transit.received(server)


async def _late(transit: Transit) -> None:
    answer = await transit.deliver(await transit.request())
    await asyncio.sleep(SHORT_DELAY)
    await transit.answer(answer)


async def _later_than_the_timeout(transit: Transit) -> None:
    await transit.deliver(await transit.request())
    await transit.gone()


async def _never_delivered(transit: Transit) -> None:
    await transit.request()
    await transit.gone()


async def _twice_at_once(transit: Transit) -> None:
    request = await transit.request()
    answers = await asyncio.gather(transit.deliver(request), transit.deliver(request))
    await transit.answer(answers[1])


async def _twice_in_turn(transit: Transit) -> None:
    request = await transit.request()
    await transit.deliver(request)
    await transit.answer(await transit.deliver(request))


async def _again_after_the_answer(transit: Transit) -> None:
    request = await transit.request()
    await transit.answer(await transit.deliver(request))
    await transit.deliver(request)


async def _garbage(transit: Transit) -> None:
    await transit.request()
    await transit.answer(b"\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n")
    transit.close()


async def _trickled(transit: Transit) -> None:
    answer = await transit.deliver(await transit.request())
    for place in range(len(answer)):
        await transit.answer(answer[place : place + 1])
        await asyncio.sleep(0)


def _cut(where: str, place: Callable[[int, int], int]) -> Fault:
    """The answer ends after `place(length of its head, its whole length)` bytes."""

    async def strike(transit: Transit) -> None:
        answer = await transit.deliver(await transit.request())
        head = answer.index(END_OF_HEAD) + len(END_OF_HEAD)
        await transit.answer(answer[: place(head, len(answer))])
        transit.close()

    return Fault(f"answer cut {where}", strike)


def _gateway(status: str, *headers: str, delivered: bool) -> Fault:
    """A gateway answers in the server's place with a page, before or after the server got the request."""
    page = b"<html><body><h1>gateway</h1></body></html>"
    lines = [f"HTTP/1.1 {status}", "Content-Type: text/html", f"Content-Length: {len(page)}", *headers, "", ""]
    answer = "\r\n".join(lines).encode() + page

    async def strike(transit: Transit) -> None:
        request = await transit.request()
        if delivered:
            await transit.deliver(request)
        await transit.answer(answer)

    return Fault(f"{status}, {'' if delivered else 'not '}delivered", strike)


def server_killed(kill: Callable[[], None]) -> Fault:
    """The server is killed, by `kill`, when it has the whole request."""

    async def strike(transit: Transit) -> None:
        server = await transit.sent(await transit.request())
        await asyncio.to_thread(kill)
        server.writer.close()
        transit.reset()

    return Fault("server killed", strike)


LATER_THAN_THE_TIMEOUT = Fault("answer later than the timeout", _later_than_the_timeout)
NEVER_DELIVERED = Fault("never delivered, no answer", _never_delivered)
TOLD_TO_WAIT = _gateway("429 Too Many Requests", f"Retry-After: {RETRY_AFTER}", delivered=False)
GATEWAY = _gateway("502 Bad Gateway", delivered=False)
CUTS = (
    _cut("before its first byte", lambda head, whole: 0),
    _cut("in the status line", lambda head, whole: 5),
    _cut("in the headers", lambda head, whole: head // 2),
    _cut("at the end of the headers", lambda head, whole: head),
    _cut("in the JSON", lambda head, whole: head + 10),
    _cut("in the binary part", lambda head, whole: whole - 9),
    _cut("one byte early", lambda head, whole: whole - 1),
)

FAULTS = (
    Fault("connection refused", _refused),
    Fault("closed on accept", _closed_on_accept),
    Fault("reset before the server", _reset_before_the_server),
    Fault("reset in the request", _reset_in_the_request),
    Fault("reset after the request", _reset_after_the_request),
    *CUTS,
    Fault("answer a little late", _late),
    LATER_THAN_THE_TIMEOUT,
    NEVER_DELIVERED,
    Fault("delivered twice at once", _twice_at_once),
    Fault("delivered twice in turn", _twice_in_turn),
    Fault("delivered again after the answer", _again_after_the_answer),
    GATEWAY,
    _gateway("502 Bad Gateway", delivered=True),
    _gateway("503 Service Unavailable", delivered=False),
    _gateway("503 Service Unavailable", delivered=True),
    TOLD_TO_WAIT,
    Fault("garbage", _garbage),
    Fault("answer byte by byte", _trickled),
)
