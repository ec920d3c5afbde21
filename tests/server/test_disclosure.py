import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.disclosure import POLICIES, Policy, add_noise, parse_policy
from shared.errors import InvalidConfig, InvalidRequest, OutputNotAllowed
from tests.conftest import LiveServer, Serve
from tests.fakes import LinearTeacher
from tests.server.asking import ask, problem, some_images, values

LOGITS = LinearTeacher().logits(some_images(50))
ALL = {"logits": True, "probabilities": True, "label": True}


def shown(policy: str, output: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    read = parse_policy(policy)
    return read.disclose(LOGITS, read.choose({output: True}, True))[output][0].astype(np.float64)


def test_forms_are_read() -> None:
    assert parse_policy("logits") == Policy("logits", ("logits", "probabilities", "label"))
    assert parse_policy("probabilities:3").decimals == 3
    assert parse_policy("top5").top == 5
    assert parse_policy("top1").outputs == ("label",)
    assert parse_policy("probabilities:2+noise0.25") == Policy(
        "probabilities:2+noise0.25", ("probabilities", "label"), decimals=2, noise=0.25
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", "all", "label", "Logits", "logits ", "logits:3", "top", "top0", "top٣", "top5:2"),
        *("probabilities:", "probabilities:0", "probabilities:7"),
        *("logits+noise", "logits+noise-1", "logits+noise1e9", "logits+noiseinf", "logits+noise.5"),
    ],
)
def test_what_is_no_policy_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InvalidConfig, match="Forms: logits, probabilities, probabilities:3, top5"):
        parse_policy(text)


def test_every_example_is_a_policy() -> None:
    assert [parse_policy(text).text for text in POLICIES] == list(POLICIES)


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if not policy.startswith("logits")])
def test_logits_are_for_the_logits_policy_only(policy: str) -> None:
    with pytest.raises(OutputNotAllowed, match="does not disclose 'logits'"):
        parse_policy(policy).choose({"logits": True}, True)
    with pytest.raises(InvalidRequest, match="no output 'weights'"):
        parse_policy(policy).choose({"weights": True}, True)


def test_rounding_keeps_that_many_decimals() -> None:
    rounded, exact = shown("probabilities:3", "probabilities"), shown("probabilities", "probabilities")
    np.testing.assert_allclose(rounded * 1000, np.round(rounded * 1000), atol=1e-3)
    assert np.abs(rounded - exact).max() <= 0.0005 + 1e-7


def test_top_k_shows_the_k_likeliest_classes_and_zero_for_all_others() -> None:
    shown_NK, exact_NK = shown("top3", "probabilities"), shown("probabilities", "probabilities")
    np.testing.assert_allclose(np.sort(shown_NK)[:, -3:], np.sort(exact_NK)[:, -3:])
    assert ((shown_NK > 0).sum(1) <= 3).all()
    np.testing.assert_array_equal(shown_NK.argmax(1), shown("top1", "label"))
    np.testing.assert_array_equal(shown("top99", "probabilities"), exact_NK)


def test_of_equally_likely_classes_top_k_still_shows_k() -> None:
    (values_NK, _) = parse_policy("top2").disclose(np.zeros((3, 10), np.float32), {"probabilities": True})[
        "probabilities"
    ]
    np.testing.assert_allclose(values_NK, [[0.1, 0.1] + [0] * 8] * 3)


@given(st.permutations(range(8)), st.integers(1, 8))
def test_noise_belongs_to_the_image_whatever_its_company(order: list[int], count: int) -> None:
    images, chosen = some_images(8), order[:count]
    whole = add_noise(LOGITS[:8], images, 0.5, b"secret")
    np.testing.assert_array_equal(add_noise(LOGITS[:8][chosen], images[chosen], 0.5, b"secret"), whole[chosen])


def test_noise_has_the_deviation_that_was_asked_for_and_another_secret_draws_another() -> None:
    images, zeros = some_images(2000), np.zeros((2000, 10), np.float32)
    noise, other = (add_noise(zeros, images, 0.5, secret) for secret in (b"one", b"two"))
    assert abs(noise.std() - 0.5) < 0.01  # 20,000 draws: the standard error is 0.0025
    assert abs(noise.mean()) < 0.02
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.03


def test_a_noisy_key_gets_the_same_answer_to_the_same_image_and_another_key_another(live_server: LiveServer) -> None:
    key, other = (live_server.make_key(policy="logits+noise0.5") for _ in range(2))
    images = some_images(5)
    first = values(ask(live_server, key, images, idempotency_key="1"))["logits"]
    again = values(ask(live_server, key, images[2:3], idempotency_key="2"))["logits"]
    np.testing.assert_array_equal(first[2:3], again)
    assert not np.array_equal(first, values(ask(live_server, other, images))["logits"])
    assert 0 < np.abs(first - live_server.teacher.logits(images)).max() < 5


def test_replicas_with_one_secret_draw_the_same_noise_and_without_it_their_own(serve: Serve) -> None:
    secrets = {"one": "0123456789abcdef", "replica": "0123456789abcdef", "other": "fedcba9876543210"}
    servers: dict[str, LiveServer] = {}
    answers = {}
    for name, secret in secrets.items():
        path = {"ledger_path": servers["one"].ledger_path} if servers else {}
        servers[name] = serve(noise_secret=secret, **path)
    key = servers["one"].make_key(policy="logits+noise0.5")
    for name, server in servers.items():
        answers[name] = values(ask(server, key, some_images(3)))["logits"]
    np.testing.assert_array_equal(answers["one"], answers["replica"])
    assert not np.array_equal(answers["one"], answers["other"])


def test_outputs_of_a_noisy_answer_agree_with_each_other(live_server: LiveServer) -> None:
    key, images = live_server.make_key(policy="logits+noise2"), some_images(50)
    logits, label = (values(ask(live_server, key, images, output))[output] for output in ("logits", "label"))
    np.testing.assert_array_equal(logits.argmax(1), label)


@pytest.mark.parametrize("policy", ["probabilities:2", "top5", "top1", "top3+noise0.1"])
def test_asking_for_more_is_refused_free(live_server: LiveServer, policy: str) -> None:
    key = live_server.make_key(policy=policy)
    problem(ask(live_server, key, some_images(1), "logits"), 403, "output-not-allowed")
    assert live_server.spent(key) == 0
