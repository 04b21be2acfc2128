"""The pages and their addresses. No Streamlit here: the server reads this too."""

from __future__ import annotations

OVERVIEW = "overview"
TOP_CONTENT = "top-content"
PATHS = (OVERVIEW, TOP_CONTENT)
