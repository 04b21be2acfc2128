"""What the tests share: running commands, lakes and exports to feed them, waiting, proxies that fail on purpose."""
