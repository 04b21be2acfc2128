"""The dashboard's pages. ``playlake serve dashboard`` runs them by ``server.py``."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app.dashboard import overview, pages, top_content
from app.dashboard.data import reader

# A file of our own: the icons that Streamlit knows by name are fetched from elsewhere.
st.set_page_config(page_title="playlake", page_icon=Path(__file__).with_name("icon.png"), layout="wide")

found = {
    pages.OVERVIEW: st.Page(
        overview.show, title="Overview", icon=":material/monitoring:", url_path=pages.OVERVIEW, default=True
    ),
    pages.TOP_CONTENT: st.Page(
        top_content.show, title="Top Content", icon=":material/trophy:", url_path=pages.TOP_CONTENT
    ),
}
page = st.navigation(list(found.values()))
wanted = found.get(st.query_params.get("open", ""))
if wanted is not None and wanted is not page:
    st.switch_page(wanted)
st.set_page_config(page_title=f"{page.title} · playlake")
version = reader().version()
st.sidebar.caption(f"playlake · build {version}" if version else "playlake · no build yet")
page.run()
