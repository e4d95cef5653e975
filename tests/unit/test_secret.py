"""A key is found, checked, put into requests, and shown nowhere."""

from __future__ import annotations

import json
import pickle

import pytest
from pydantic import SecretStr

from rerankkit import InvalidRequestError
from rerankkit._secret import Secret, check_key, environment, hidden, masked

KEY = "k3y-0123456789"
NAMES = ("FIRST_KEY", "SECOND_KEY")


def test_a_key_that_was_given_is_taken_and_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST_KEY", "another-0123456789")
    for given in (KEY, SecretStr(KEY)):
        secret = Secret.find(given, "cohere", NAMES)
        assert secret.reveal() == KEY
        assert not secret.from_environment


def test_a_key_of_the_environment_is_the_first_that_is_set_and_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST_KEY", "")
    monkeypatch.setenv("SECOND_KEY", KEY)
    secret = Secret.find(None, "cohere", NAMES)
    assert secret.from_environment
    assert secret.reveal() == environment(NAMES) == KEY
    monkeypatch.setenv("FIRST_KEY", "first-0123456789")
    assert environment(NAMES) == "first-0123456789"
    assert secret.reveal() == KEY, "read once"
    assert environment(("THIRD_KEY",)) is None


def test_a_key_that_is_missing_is_asked_for_by_all_its_names() -> None:
    with pytest.raises(InvalidRequestError, match=r"^cohere needs a key: set FIRST_KEY or SECOND_KEY, or pass api_key= "):
        Secret.find(None, "cohere", NAMES)


def test_a_key_of_the_wrong_form_is_refused_when_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequestError, match="cohere key has white space"):
        Secret.find(f"{KEY}\n", "cohere", NAMES)
    monkeypatch.setenv("FIRST_KEY", f"{KEY}\n")
    with pytest.raises(InvalidRequestError, match="cohere key has white space"):
        Secret.find(None, "cohere", NAMES)


def test_a_pickle_holds_the_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    dumped = pickle.dumps(Secret.find(KEY, "cohere", NAMES))
    assert KEY.encode() not in dumped
    loaded = pickle.loads(dumped)
    assert (loaded.service, loaded.names, loaded.from_environment) == ("cohere", NAMES, True)
    with pytest.raises(InvalidRequestError, match="cohere needs a key"):
        loaded.reveal()
    monkeypatch.setenv("SECOND_KEY", "where-it-is-loaded")
    assert loaded.reveal() == "where-it-is-loaded"


def test_a_loaded_key_goes_to_a_foreign_host_only_if_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret.find(KEY, "cohere", NAMES)
    secret.bind("gateway.test", "BASE_URL")
    assert secret.reveal() == KEY
    loaded = pickle.loads(pickle.dumps(secret))
    monkeypatch.setenv("FIRST_KEY", "where-it-is-loaded")
    refused = r"^the cohere key did not travel in the pickle, .* goes to gateway\.test only if BASE_URL names it"
    for url in (None, "https://elsewhere.test", "gateway.test"):
        if url:
            monkeypatch.setenv("BASE_URL", url)
        with pytest.raises(InvalidRequestError, match=refused):
            loaded.reveal()
    monkeypatch.setenv("BASE_URL", "https://gateway.test:8443/v1")
    assert loaded.reveal() == "where-it-is-loaded"


def test_a_key_does_not_show_itself() -> None:
    secret = Secret.find(KEY, "cohere", NAMES)
    assert repr(secret) == str(secret) == "Secret('**********')"


def test_a_key_masks_itself_and_one_that_was_never_read_masks_nothing() -> None:
    assert Secret.find(KEY, "cohere", NAMES).mask(f"a {KEY} {KEY}".encode()) == b"a ********** **********"
    assert Secret(None, "cohere", NAMES).mask(b"content") == b"content"


@pytest.mark.parametrize("char", '"\\/+-~!')
def test_a_key_is_masked_in_every_form_that_json_has_for_it(char: str) -> None:
    key = f"k3y{char}0123{char}45"
    numbered = "".join(f"\\u{ord(letter):04X}" for letter in key)
    lower = numbered.lower()
    slashed = key.replace("\\", "\\\\").replace('"', '\\"').replace("/", "\\/")
    for form in (key, json.dumps(key)[1:-1], numbered, lower, slashed, f"\\u006b{json.dumps(key)[2:-1]}"):
        assert masked(f"<{form}>".encode(), key) == b"<**********>"


def test_what_is_not_the_key_is_not_masked() -> None:
    for content in (b"k3y-012345678", b"\\u004b3y-0123456789", b"k3yx0123456789 \\u0041", b"\\"):
        assert masked(content, "k3y-0123456789") == content
    assert masked(b"k3yx0123 \\u0041", "k3y.0123") == b"k3yx0123 \\u0041", "a key is no pattern"


def test_what_is_shorter_than_a_key_is_a_placeholder() -> None:
    assert masked(b"sk-1234", "sk-1234") == b"sk-1234"
    assert masked(b"sk-12345", "sk-12345") == b"**********"
    assert masked(b"content", "") == b"content"


@pytest.mark.parametrize("key", ["abc123", "sk-12_3.x/y+z=", "!", "bearer-x", "Bearer"])
def test_a_key_is_printable_ascii_without_white_space(key: str) -> None:
    assert check_key("cohere", key) == key


ENDS = "has white space at its start or end (read from a file? use .strip())"
INSIDE = "holds white space or control characters"
FOREIGN = "holds characters outside ASCII"


@pytest.mark.parametrize(
    ("key", "flaw"),
    [
        (f" {KEY}", ENDS),
        (f"{KEY}\n", ENDS),
        (f"BEARER {KEY}", "starts with 'Bearer' (pass the key alone)"),
        (f"Token {KEY}", INSIDE),
        ("k3y\x7f0123", INSIDE),
        ("k3y\x000123", INSIDE),
        ("k3yü0123", FOREIGN),
        ("kéy", FOREIGN),
        ("\u0663\u0664", FOREIGN),
    ],
)
def test_a_flaw_of_a_key_is_told_without_the_key(key: str, flaw: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_key("cohere", key)
    assert str(caught.value) == f"cohere key {flaw}; it has {len(key)} characters and is not shown here"


def test_an_empty_key_is_refused_and_the_way_out_told() -> None:
    with pytest.raises(InvalidRequestError, match="^cohere key is empty: pass one, or leave it out and set the environment's$"):
        check_key("cohere", "")


def test_a_key_on_its_way_does_not_show_itself() -> None:
    given = hidden(KEY)
    assert given is not None
    assert repr(given) == str(given) == "Hidden('**********')"
    assert given.get_secret_value() == KEY
    assert hidden(given) is given
    assert hidden(None) is None


def test_a_key_is_a_text() -> None:
    with pytest.raises(InvalidRequestError, match="^cohere key must be a str, got bytes$"):
        check_key("cohere", KEY.encode())
