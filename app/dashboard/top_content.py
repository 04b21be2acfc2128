"""Top Content: the ten most played tracks, artists and albums."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from app.dashboard.data import rows

MOST = 10


# In pixels: left to itself a column is as wide as most of its titles, and cuts the one that is longer.
_TITLE = 320
_COLUMNS = {
    "track": st.column_config.TextColumn("Track", width=_TITLE),
    "artist": st.column_config.TextColumn("Artist"),
    "album": st.column_config.TextColumn("Album", width=_TITLE),
    "plays": st.column_config.NumberColumn("Plays", format="localized"),
    "listeners": st.column_config.NumberColumn("Listeners", format="localized"),
    "tracks": st.column_config.NumberColumn("Tracks", format="localized"),
    "hours": st.column_config.NumberColumn("Hours", format="%.1f"),
    "track_id": st.column_config.TextColumn("Track id", help="For GET /recommendations/{track_id}"),
}


def _bars(found: pd.DataFrame, label: str, detail: str | None) -> alt.Chart:
    names = found[label] if detail is None else found[label] + " · " + found[detail]
    # Two titles can be the same: the place keeps their bars apart.
    shown = found.assign(place=range(1, len(found) + 1), name=names)
    shown["bar"] = shown["place"].astype(str) + ". " + shown["name"]
    chart: alt.Chart = (
        alt.Chart(shown)
        .mark_bar(cornerRadiusEnd=3)
        .encode(
            x=alt.X("plays:Q", title="Plays"),
            y=alt.Y("bar:N", sort=alt.SortField("place"), title=None, axis=alt.Axis(labelLimit=220)),
            tooltip=[alt.Tooltip("name:N", title=label.title()), alt.Tooltip("plays:Q", title="Plays", format=",")],
        )
        .properties(height=34 * max(len(found), 3), padding={"left": 5, "top": 5, "bottom": 5, "right": 25})
    )
    return chart


def show() -> None:
    """Draw the page."""
    st.title("Top Content")
    unnamed = rows("unnamed")
    if not unnamed.empty and unnamed.iloc[0].plays:
        found = unnamed.iloc[0]
        st.caption(
            f"{int(found.plays):,} plays ({found.hours:,.1f} h) are not named by the source: they count as listening,"
            " and are in none of these lists."
        )
    for tab, (query, label, detail) in zip(
        st.tabs(["Tracks", "Artists", "Albums"]),
        [("top_tracks", "track", "artist"), ("top_artists", "artist", None), ("top_albums", "album", "artist")],
        strict=True,
    ):
        with tab:
            found = rows(query, most=MOST)
            if found.empty:
                why = ": an account export names no album." if label == "album" else " yet."
                st.info(f"No {label} is known{why}")
                continue
            st.altair_chart(_bars(found, label, detail), width="stretch")
            st.dataframe(found, hide_index=True, width="stretch", column_config=_COLUMNS)
            st.caption("Double-click a cell to read all of it.")
