"""Where listening comes from: exports, the simulator and, later, Spotify itself. Each yields events."""
