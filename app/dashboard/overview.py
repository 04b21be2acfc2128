"""Overview: how much was listened to, and when."""

from __future__ import annotations

import altair as alt
import streamlit as st

from app.dashboard.data import rows, time_zone


def show() -> None:
    """Draw the page."""
    st.title("Overview")
    total = rows("overview").iloc[0]
    if not total.total_plays:
        st.info(
            "No plays yet. Drop in a history with `playlake import`, or run `playlake simulate`; then `playlake build`."
        )
        return
    st.caption(f"{total.first_day:%d %b %Y} to {total.last_day:%d %b %Y}, days in {time_zone()}")
    figures = [
        ("Plays", f"{total.total_plays:,}"),
        ("Listening time", f"{total.minutes / 60:,.0f} h"),
        ("Tracks", f"{total.unique_tracks:,}"),
        ("Artists", f"{total.unique_artists:,}"),
        ("Listeners", f"{total.listeners:,}"),
    ]
    with st.container(horizontal=True):  # wraps: columns would cut their figures off in a narrow window
        for label, value in figures:
            st.metric(label, value, border=True)

    st.subheader("Plays a day")
    chart = (
        alt.Chart(rows("plays_by_day"))
        .mark_area(line=True, opacity=0.35)
        .encode(
            x=alt.X("date:T", title=None),
            y=alt.Y("plays:Q", title="Plays"),
            tooltip=[
                alt.Tooltip("date:T", title="Day"),
                alt.Tooltip("plays:Q", title="Plays", format=","),
                alt.Tooltip("hours:Q", title="Hours", format=".1f"),
            ],
        )
        .properties(height=300)
    )
    st.altair_chart(chart, width="stretch")

    st.subheader("Devices")
    found = rows("devices")
    if "not known" in set(found.device_type):
        st.caption("Where the device is “not known”, the source does not say: an account export names no device.")
    devices = (
        alt.Chart(found)
        .mark_bar(cornerRadiusEnd=3)
        .encode(
            x=alt.X("play_count:Q", title="Plays"),
            y=alt.Y("device_type:N", sort="-x", title=None, axis=alt.Axis(labelLimit=220)),
            tooltip=[
                alt.Tooltip("device_type:N", title="Device"),
                alt.Tooltip("play_count:Q", title="Plays", format=","),
                alt.Tooltip("share_of_plays:Q", title="Share", format=".1%"),
            ],
        )
        .properties(height=34 * max(len(found), 3), padding={"left": 5, "top": 5, "bottom": 5, "right": 25})
    )
    st.altair_chart(devices, width="stretch")
