"""What every object store must do for playlake."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from playlake.errors import PlaylakeError, UnavailableError
from playlake.lake import tables
from playlake.lake.store import Store
from playlake.settings import Settings
from tests.support.lakes import drop_bucket, lake_of_its_own


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A running store of each kind, with a bucket of the test's own; a store may have room for some dozens only."""
    own = lake_of_its_own(settings, tmp_path)
    yield own
    drop_bucket(own)


@pytest.fixture
def store(settings: Settings) -> Store:
    made = Store(settings)
    made.ensure_bucket()
    return made


def test_the_bucket_is_made_once(settings: Settings, store: Store) -> None:
    store.write("a", b"1")
    store.ensure_bucket()
    Store(settings).ensure_bucket()
    assert store.read("a") == b"1"


def test_two_that_make_the_bucket_at_once_both_have_it(settings: Settings) -> None:
    """SeaweedFS may call a bucket missing that another client is making."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: Store(settings)._make_bucket(settings.s3_bucket), range(8)))
    store = Store(settings)
    store.write("a", b"1")
    assert store.read("a") == b"1"


def test_a_bucket_that_is_there_needs_no_making(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """SeaweedFS may answer NoSuchBucket to CreateBucket for minutes, though the bucket is there."""
    store = Store(settings)
    call = store._fs.call_s3

    def stale(method: str, **kwargs: Any) -> Any:
        if method != "create_bucket":
            return call(method, **kwargs)
        with suppress(FileExistsError):
            call(method, **kwargs)
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(store._fs, "call_s3", stale)
    store.ensure_bucket()
    store.write("a", b"1")
    assert store.read("a") == b"1"


def test_several_that_look_first_at_once(settings: Settings) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: tables.snapshot(settings), range(4)))
    assert found == [dict.fromkeys([*tables.FOLDERS.values(), tables.DEAD_LETTERS_FOLDER], 0)] * 4


def test_the_first_to_look_at_the_lake_makes_its_bucket_and_tables(settings: Settings) -> None:
    """A feed or an orchestrator may be there before the writer."""
    assert set(tables.snapshot(settings).values()) == {0}
    assert set(tables.snapshot(settings)) == {*tables.FOLDERS.values(), tables.DEAD_LETTERS_FOLDER}


def test_objects_are_written_read_listed_and_removed(store: Store) -> None:
    for key in ("x/1", "x/2", "y/hour=01/3"):
        store.write(key, key.encode())
    assert store.read("y/hour=01/3") == b"y/hour=01/3"
    assert store.keys("x") == ["x/1", "x/2"]
    store.delete("x/1")
    assert store.keys("x") == ["x/2"]
    with pytest.raises(FileNotFoundError):
        store.read("x/1")


def test_conditional_put_is_honoured_and_leaves_nothing_behind(store: Store) -> None:
    store.check_conditional_put()
    store.check_conditional_put()
    assert store.keys("bronze") == []


def test_a_store_that_ignores_conditional_put_is_refused(store: Store) -> None:
    # The real store, asked without the condition: what a store that ignores it would do.
    real = store._fs.call_s3

    def without_condition(method: str, **arguments: object) -> object:
        arguments.pop("IfNoneMatch", None)
        return real(method, **arguments)

    store._fs.call_s3 = without_condition
    with pytest.raises(PlaylakeError, match="ignores conditional PUT"):
        store.check_conditional_put()
    assert store.keys("bronze") == []


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_store_that_fails_during_the_check_is_no_proof_of_anything(store: Store, number: int) -> None:
    """An error that is no refusal must neither pass for one nor be a traceback."""
    real, calls = store._fs.call_s3, []

    def failing(method: str, **arguments: object) -> object:
        calls.append(method)
        if len(calls) == number:
            raise OSError(16, "Please reduce your request rate.")  # what s3fs makes of 503
        return real(method, **arguments)

    store._fs.call_s3 = failing
    with pytest.raises(UnavailableError, match="reduce your request rate"):
        store.check_conditional_put()


def test_wrong_keys_are_an_error_without_the_secret_in_it(settings: Settings) -> None:
    wrong = settings.model_copy(update={"s3_secret_key": SecretStr("not-the-secret-key")})
    with pytest.raises(UnavailableError) as raised:
        Store(wrong).ensure_bucket()
    assert "not-the-secret-key" not in str(raised.value)
    assert str(settings.s3_endpoint) in str(raised.value)


def test_a_store_that_is_down_is_said_in_one_line(settings: Settings) -> None:
    from playlake.stack import ports

    gone = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{ports.choose(1)[0]}"})
    with pytest.raises(UnavailableError, match="playlake status"):
        Store(gone).ensure_bucket()
