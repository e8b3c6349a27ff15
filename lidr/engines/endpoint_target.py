"""Which server is asked for which model."""

from __future__ import annotations

from dataclasses import dataclass

from lidr.config import EndpointConfig


@dataclass(frozen=True)
class Target:
    """A server, its name of the model, and the section of the configuration that says so."""

    endpoint: EndpointConfig
    model: str
    section: str

    def key(self, name: str) -> str:
        """A key of the endpoint, as it is typed."""
        return f"{self.section}.endpoint.{name}"
