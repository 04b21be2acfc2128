"""The API on a published file: any id that the lake takes can be asked for in its encoded form."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import duckdb
import httpx
import pytest
from fastapi import FastAPI

from app.api.main import create
from playlake.settings import load_settings
from playlake.warehouse.build import folder
from playlake.warehouse.publish import publish

IDS = [
    "plain",
    "spotify:track:4uLU6hMCjMI75M1A2tKUQC",
    "a/b",
    "trail/",
    "/lead",
    "a//b",
    "local:::My+Song:100",
    "what?#&=;",
    "100%",
    "%2F",
    "blank here",
    "Sæglópur 😀",
    "dot.",
    "back\\slash",
    "'quoted\"",
    "line\nbreak",
    "x" * 4096,
]


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "create table gold.track_popularity (track_id varchar, track_name varchar, artist_name varchar,"
        " play_count bigint)"
    )
    connection.execute(
        "create table gold.track_similarity (track_id varchar, similar_track_id varchar,"
        " similar_track_name varchar, similar_artist_name varchar, score double, rank bigint)"
    )
    for number, one in enumerate(IDS):
        connection.execute("insert into gold.track_popularity values (?, ?, 'Band', 1)", [one, f"Song {number}"])


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """On a gold that an earlier release has published, without the tables that came later; its cache is down."""
    settings = load_settings(_env_file=None, home=tmp_path_factory.mktemp("api"), redis_url="redis://127.0.0.1:9/0")
    publish(folder(settings), fill, {})
    return create(settings)


def ask(app: FastAPI, path: str) -> httpx.Response:
    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://api") as client,
        ):
            return await client.get(path)

    return asyncio.run(answer())


@pytest.mark.parametrize("track_id", IDS, ids=lambda one: one[:20])
def test_any_id_can_be_asked_for(app: FastAPI, track_id: str) -> None:
    answer = ask(app, f"/recommendations/{quote(track_id, safe='')}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["track_id"] == track_id
    assert answer.json()["track_name"] == f"Song {IDS.index(track_id)}"


@pytest.mark.parametrize("track_id", ["", "nobody", "plain/", "a/b/", "trail", "%00"])
def test_an_unknown_id_is_ours_to_refuse(app: FastAPI, track_id: str) -> None:
    answer = ask(app, f"/recommendations/{quote(track_id, safe='%')}")
    assert answer.status_code == 404
    assert "in the current build" in answer.json()["detail"]
