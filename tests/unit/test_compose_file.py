"""What every service of the compose file must have, whichever profile it belongs to."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from playlake.settings import ROOT

TEXT = (ROOT / "compose" / "compose.yaml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = ("writer", "feed", "builder", "api", "dashboard", "scheduler", "orchestrator", "dag-processor")


def test_the_services_are_these() -> None:
    assert set(SERVICES) == {*OURS, "broker", "store", "cache", "metadata", "console"}
    assert {n for n, s in SERVICES.items() if s.get("profiles") == ["orchestration"]} == {
        *("metadata", "scheduler", "orchestrator", "dag-processor"),
    }
    assert (SERVICES["builder"]["profiles"], SERVICES["console"]["profiles"]) == (["builder"], ["ui"])


@pytest.mark.parametrize("name", SERVICES)
def test_each_is_limited_watched_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["restart"] == "unless-stopped"
    assert service["cap_drop"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\$\{[A-Z_]+:-[^}]+:[^}]+\}", service["image"]), "an image by a variable, with a tag"
    assert not service["image"].endswith(":latest}")
    for port in service.get("ports", []):
        assert port.startswith("${STACK_BIND:-127.0.0.1}:")


@pytest.mark.parametrize("name", OURS)
def test_ours_have_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["user"] == "${STACK_UID:-10001}:0"


def test_no_secret_has_a_default() -> None:
    secrets = set(re.findall(r"\$\{([A-Z0-9_]*(?:PASSWORD|SECRET|KEY)[A-Z0-9_]*)[:}]", TEXT))
    assert len(secrets) == 6
    for name in secrets:
        assert set(re.findall(rf"\$\{{{name}(:-[^}}]*)?\}}", TEXT)) <= {"", ":-"}
