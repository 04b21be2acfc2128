"""The recommendation service. ``playlake serve api`` runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, HTTPException, Path, Response
from pydantic import BaseModel
from starlette.convertors import Convertor, register_url_convertor

from playlake import __version__
from playlake.cache import RedisCache
from playlake.errors import UnavailableError
from playlake.recommend import Recommender
from playlake.settings import Settings, load_settings
from playlake.warehouse.build import folder
from playlake.warehouse.reader import GoldReader


class _AnyText(Convertor[str]):
    """The rest of a path, whatever is in it: Starlette's own ends at a line break."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any_text", _AnyText())


class Track(BaseModel):
    """A recommended track; `score` is 0 to 1, `rank` 1 the best."""

    track_id: str
    track_name: str
    artist_name: str
    score: float
    rank: int


class Answer(BaseModel):
    """Up to ten tracks that are heard together with a track, by one build of the warehouse."""

    track_id: str
    track_name: str
    artist_name: str
    version: int
    recommendations: list[Track]


class Health(BaseModel):
    """`ok` when recommendations can be served; a cache that is down only makes them slower."""

    status: str
    version: int | None
    cache: str


def create(settings: Settings | None = None) -> FastAPI:
    """The application; uvicorn calls this as a factory."""
    settings = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.gold = GoldReader(folder(settings))
        app.state.cache = RedisCache(settings)
        app.state.recommender = Recommender(app.state.gold, app.state.cache)
        yield
        app.state.gold.close()
        app.state.cache.close()

    app = FastAPI(
        title="playlake",
        version=__version__,
        description="Tracks to hear next, from your own lake.",
        lifespan=lifespan,
        # The pages of these load their scripts from elsewhere; /openapi.json describes the service without.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # an id may end in a slash
    )

    @app.get(
        "/recommendations/{track_id:any_text}", responses={404: {"description": "No such track in the current build"}}
    )
    def recommendations(
        track_id: Annotated[
            str, Path(max_length=4096, description="A track id, as in gold.track_popularity, percent-encoded")
        ],
        response: Response,
    ) -> Answer:
        """Ten tracks that go with a track."""
        try:
            found, cached = app.state.recommender.similar(track_id)
        except UnavailableError as error:
            raise HTTPException(503, str(error)) from error
        if found is None:
            raise HTTPException(404, f"No track {track_id!r} in the current build.")
        response.headers["X-Cache"] = "hit" if cached else "miss"
        return Answer.model_validate(found, from_attributes=True)

    @app.get("/health", responses={503: {"description": "Nothing has been published yet"}})
    def health(response: Response) -> Health:
        """Whether the service can answer."""
        version = app.state.gold.version()
        response.status_code = 200 if version is not None else 503
        return Health(
            status="ok" if version is not None else "no build published yet: run `playlake build`",
            version=version,
            cache="ok" if app.state.cache.ping() else "down",
        )

    return app
