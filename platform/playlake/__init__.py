"""playlake: a listening lakehouse that runs whole on a laptop."""

__version__ = "0.1.0"
