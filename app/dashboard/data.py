"""The pages' one way to the data: named queries on published gold, remembered for each build."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from playlake.errors import UnavailableError
from playlake.settings import load_settings
from playlake.warehouse.build import folder
from playlake.warehouse.reader import GoldReader


@st.cache_resource
def reader() -> GoldReader:
    """One reader for all sessions."""
    return GoldReader(folder(load_settings()))


@st.cache_resource
def time_zone() -> str:
    """Whose days they are."""
    return load_settings().time_zone


@st.cache_data(max_entries=64, show_spinner=False)
def _rows(version: int, name: str, parameters: tuple[tuple[str, object], ...]) -> pd.DataFrame:
    return pd.DataFrame(reader().query(name, **dict(parameters)))


def rows(name: str, **parameters: object) -> pd.DataFrame:
    """The rows of a named query; before the first build the page says so and ends."""
    try:
        version = reader().version()
        if version is None:
            raise UnavailableError("Nothing has been published yet: run `playlake build` (or `make demo`).")
        return _rows(version, name, tuple(sorted(parameters.items())))
    except UnavailableError as error:
        st.info(str(error))
        st.stop()
        raise  # st.stop() does not return
