"""``python -m playlake`` is the command ``playlake``."""

from playlake.cli import main

main()
