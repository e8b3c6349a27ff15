"""One request to a server that speaks OpenAI's protocol, made once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import openai

from lidr.config import EndpointApi
from lidr.engines.endpoint_answers import (
    Answer,
    FaultError,
    RefusedError,
    error_message,
    read_answer,
    redacted,
    seconds_to_wait,
    shown,
)
from lidr.engines.endpoint_target import Target
from lidr.errors import LidrError

_NO_KEY = "none"  # what is sent to a server of one's own
_CONNECT = 30.0  # seconds to wait for a connection, at most
_RETRIED = (408, 409, 429)


class Client:
    """Connections to the server; made inside an event loop, and closed there.

    Raises:
        LidrError: the address names no host, or the server needs a key and there is none.
    """

    def __init__(self, target: Target) -> None:
        endpoint, own = target.endpoint, _is_loopback(target)
        self._secret = _key(endpoint.key_variable, own)
        self._api, self._timeout = endpoint.api, endpoint.timeout
        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
            max_connections=endpoint.concurrency, max_keepalive_connections=endpoint.concurrency
        )
        timeout = openai.Timeout(endpoint.timeout, connect=min(_CONNECT, endpoint.timeout))
        self._client = openai.AsyncOpenAI(
            api_key=self._secret or _NO_KEY,
            base_url=endpoint.url,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(limits=limits, timeout=timeout, trust_env=not own),
        )

    async def send(self, fields: Mapping[str, Any]) -> Answer:
        """The server's answer.

        Raises:
            FaultError: there is none this time.
            RefusedError: there will be none.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return read_answer(await self._post(fields), self._api)
        except (TimeoutError, openai.APITimeoutError):
            raise FaultError(f"did not answer within {self._timeout:g} s") from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            reason = shown(redacted(str(cause) or type(cause).__name__, self._secret))
            raise FaultError(f"gave no connection, or broke it off ({reason})") from None
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except (LookupError, ValueError, TypeError, AssertionError):  # of a codec that the headers name
            raise FaultError("answered with a text that its own headers make unreadable") from None

    async def _post(self, fields: Mapping[str, Any]) -> bytes:
        resource = (
            self._client.chat.completions if self._api is EndpointApi.CHAT else self._client.completions
        )
        create: Any = resource.with_raw_response.create
        response = await create(**fields)
        body: bytes = response.http_response.content
        return body

    def _refused(self, error: openai.APIStatusError) -> FaultError | RefusedError:
        message, code = error_message(error.response.text)
        message = redacted(message, self._secret)
        if error.status_code in _RETRIED or error.status_code >= 500:
            what = f"answered {error.status_code} ({shown(message)})"
            return FaultError(what, seconds_to_wait(error.response.headers))
        return RefusedError(error.status_code, message, code)

    async def close(self) -> None:
        await self._client.close()


def _key(variable: str, own_server: bool) -> str | None:
    """The key, None where a server of one's own needs none; it is kept nowhere but in the client."""
    key = os.environ.get(variable, "").strip()
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise LidrError(
            "holds characters that no key has",
            where=f"environment variable {variable}",
            instead=f"export {variable}=<key>",
        )
    if not key and not own_server:
        raise LidrError(
            "is not set, and holds the server's key",
            where=f"environment variable {variable}",
            instead=f"export {variable}=<key>, or any word where the server wants none",
        )
    return key or None


def _is_loopback(target: Target) -> bool:
    """Whether the address is this machine's own."""
    try:
        parts = urlsplit(target.endpoint.url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise LidrError(
            f"{target.endpoint.url!r} names no server",
            where=target.key("url"),
            instead="type the server's base URL, such as http://127.0.0.1:8000/v1",
        )
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
