import re

import pytest

from shared import errors
from shared.errors import ApiError, InternalError, InvalidRequest, MekdError, from_problem


def every(kind: type[MekdError]) -> list[type[MekdError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in every(child))]


@pytest.mark.parametrize("kind", ApiError.__subclasses__())
def test_an_api_error_crosses_the_wire_as_itself(kind: type[ApiError]) -> None:
    error = kind("What happened, 3 of 4, and the way out.", remaining=3, retry_after=1)
    back = from_problem(kind.status, error.problem())
    assert type(back) is kind
    assert (str(back), back.members) == (str(error), error.members)


def test_codes_are_unique_and_exit_codes_tell_failure() -> None:
    kinds = every(MekdError)
    codes = [kind.code for kind in kinds if kind is not ApiError]
    assert len(codes) == len(set(codes))
    assert all(kind.exit_code > 0 for kind in kinds)


def test_the_docstring_draws_every_class_with_its_status_and_exit_code() -> None:
    drawn = {
        words[0]: words[1:]
        for words in map(str.split, re.sub("[│├└─]", " ", errors.__doc__ or "").splitlines())
        if words
    }
    for kind in every(MekdError)[1:]:
        status = [str(kind.status)] if issubclass(kind, ApiError) and kind is not ApiError else []
        if kind is not ApiError:
            assert drawn[kind.__name__][: len(status) + 2] == [*status, "exit", str(kind.exit_code)]


def test_members_never_shadow_what_rfc_9457_reserves() -> None:
    document = InvalidRequest("Wrong.", status=200, type="x", detail="y", title="z", error="e").problem()
    assert (document["status"], document["detail"], document["error"]) == (400, "Wrong.", "Wrong.")
    assert document["type"] == "urn:mekd:error:invalid-request"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(402, errors.BudgetExhausted), (418, InvalidRequest), (502, InternalError), (301, InternalError)],
)
def test_errors_of_other_servers_are_known_by_their_status(status: int, kind: type[ApiError]) -> None:
    for document in ({"error": "words of another server"}, {"message": "words of another server", "self": "/x"}):
        error = from_problem(status, document)
        assert type(error) is kind
        assert str(error) == "words of another server"
    assert str(from_problem(status, {})) == f"The server answered {status}."
