"""Two server processes on one ledger, killed again and again under clients that send everything twice or more.

The clients write down every answer that reached them. When the killing is over, what they hold is compared with the
ledger, read by plain SQL, and every answer is asked for once more.
"""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np

from server.auth import key_hash, new_key
from server.ledger.protocol import Account
from shared.codec import encode_request
from shared.protocol import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED
from tests.eventually import eventually
from tests.forked import Forked
from tests.server.asking import INFER
from tests.server.ledger import linear_server
from tests.server.ledger.databases import Database

SERVERS = 2
BUDGETS = {"tight": 500, "wide-1": 10**7, "wide-2": 10**7, "wide-3": 10**7}  # images; the first is soon exhausted
REPEATS = 2  # how often each question is sent, by different clients at about the same time
ANSWERS_BETWEEN = 20  # two kills, at least
ASK_AN_OLD_ONE = 0.1  # share of questions that were asked long ago
RETRIED = {409, 429, 503}


@dataclass(frozen=True)
class Found:
    """What a run did, and what it may not have done: from `overspent` on, all zero."""

    seconds: float
    kills: int
    answers: int
    replays: int
    broken_connections: int
    refused_402: int
    spent: int
    costs: int
    overspent: int
    double_paid: int
    lost: int
    differing: int
    other_statuses: int

    @property
    def sound(self) -> bool:
        wrong = (self.overspent, self.double_paid, self.lost, self.differing, self.other_statuses)
        return self.spent == self.costs and not any(wrong)


class Servers:
    """Processes that serve one ledger; any may be killed and is then started anew, on another port."""

    def __init__(self, ledger_url: str) -> None:
        self._ledger_url = ledger_url
        self._processes = [self._start() for _ in range(SERVERS)]
        self.urls = [self._url(process) for process in self._processes]

    def kill(self, index: int) -> None:
        """SIGKILL, and start anew; returns when that one serves."""
        _end(self._processes[index])
        self._processes[index] = self._start()
        self.urls[index] = self._url(self._processes[index])

    def close(self) -> None:
        for process in self._processes:
            _end(process)

    def _start(self) -> Forked:
        return Forked(linear_server.main, self._ledger_url)

    def _url(self, process: Forked) -> str:
        url = process.stdout.readline().strip()
        assert url, f"a server did not start: {process.communicate()}"
        return url


def _end(process: Forked) -> None:
    process.kill()
    process.communicate()


@dataclass
class Clients:
    """What all clients know together."""

    servers: Servers
    keys: dict[str, str]
    stop: threading.Event = field(default_factory=threading.Event)
    answers: dict[int, bytes] = field(default_factory=dict)
    unpaid_before: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self, seed: int) -> None:
        """Ask, until told to stop; a question that was begun is asked until it is answered."""
        chance = random.Random(seed)
        with httpx.Client(timeout=30) as http:
            while not self.stop.is_set():
                with self._lock:
                    number = next(self._numbers) // REPEATS
                if chance.random() < ASK_AN_OLD_ONE:
                    number = chance.randrange(number + 1)
                self.ask(http, number, chance)

    def wait_for(self, answers: int) -> None:
        """Returns once so many more have come."""
        enough = self.counts["answers"] + answers
        eventually(lambda: self.counts["answers"] >= enough)

    def ask(self, http: httpx.Client, number: int, chance: random.Random) -> bool:
        """Ask question `number`, at any server, until it is answered; whether it was a replay."""
        name = list(BUDGETS)[number % len(BUDGETS)]
        message = encode_request(
            np.random.default_rng(number).integers(0, 256, (1 + number % 3, 1, 8, 8), np.uint8), "logits"
        )
        headers = {**message.headers, "Authorization": f"Bearer {self.keys[name]}", IDEMPOTENCY_KEY: f"q-{number}"}
        while True:
            url = chance.choice(self.servers.urls)
            try:
                response = http.post(url + INFER, content=message.body, headers=headers)
            except httpx.TransportError:
                self._count("broken")
                time.sleep(0.1)
                continue
            if response.status_code not in RETRIED:
                return self._note(number, response)
            time.sleep(0.02)

    def _note(self, number: int, response: httpx.Response) -> bool:
        replayed = IDEMPOTENCY_REPLAYED in response.headers
        if response.status_code != 200:
            self._count(str(response.status_code))
            return False
        with self._lock:
            self.counts["answers"] += 1
            self.counts["replays"] += replayed
            self.counts["differing"] += self.answers.setdefault(number, response.content) != response.content
            self.unpaid_before[number] += not replayed
        return replayed

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


@contextmanager
def _serving(database: Database) -> Iterator[Clients]:
    with ExitStack() as stack:
        keys = {name: new_key() for name in BUDGETS}
        with database.open() as ledger:
            for name, budget in BUDGETS.items():
                ledger.create(Account(name, budget, "logits", 10**9), key_hash(keys[name]))
        servers = Servers(database.url)
        stack.callback(servers.close)
        yield Clients(servers, keys)


def kill_under_load(database: Database, *, kills: int, clients: int, seed: int) -> Found:
    """Kill a random server `kills` times at random moments under `clients` clients, then look at everything."""
    chance, started = random.Random(seed), time.monotonic()
    with _serving(database) as all_clients, ThreadPoolExecutor(clients) as pool:
        work = [pool.submit(all_clients.work, seed + number) for number in range(clients)]
        try:
            for _ in range(kills):
                all_clients.wait_for(ANSWERS_BETWEEN)
                time.sleep(chance.uniform(0.0, 0.5))
                all_clients.servers.kill(chance.randrange(SERVERS))
        finally:
            all_clients.stop.set()
        for worker in work:
            worker.result()
        counts, during = Counter(all_clients.counts), dict(all_clients.answers)
        with httpx.Client(timeout=30) as http:
            lost = sum(not all_clients.ask(http, number, chance) for number in during)
    seconds = time.monotonic() - started
    ((spent,),) = database.sql("SELECT CAST(sum(spent) AS BIGINT) FROM clients")
    ((costs,),) = database.sql("SELECT CAST(sum(cost) AS BIGINT) FROM requests")
    overspent = database.sql("SELECT name FROM clients WHERE spent > budget")
    expected = {"answers", "replays", "broken", "differing", "402"}
    return Found(
        seconds=seconds,
        kills=kills,
        answers=counts["answers"],
        replays=counts["replays"],
        broken_connections=counts["broken"],
        refused_402=counts["402"],
        spent=spent,
        costs=costs,
        overspent=len(overspent),
        double_paid=sum(times > 1 for times in all_clients.unpaid_before.values()),
        lost=lost,
        differing=all_clients.counts["differing"],
        other_statuses=sum(n for what, n in all_clients.counts.items() if what not in expected),
    )
