"""Text of models inside a page: data a browser cannot run, and the policy that lets nothing else run either."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from typing import Any

# What could end the data block, or what HTML or UTF-8 cannot hold. In JSON each may stand as an escape.
_UNSAFE_IN_SCRIPT = re.compile("[<>&\u007f-\u009f\u2028\u2029\ufeff\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_UNSAFE_IN_HTML = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def script_json(value: Any) -> str:
    """JSON that is safe inside ``<script type="application/json">``: it holds no ``<``, and UTF-8 can hold it.

    ``JSON.parse`` gives back the same value, lone surrogates included.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _UNSAFE_IN_SCRIPT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def embedded_size(text: str) -> int:
    """Bytes that a text takes inside the page."""
    return len(script_json(text).encode("utf-8"))


def escape(text: str) -> str:
    """Text for an element or a quoted attribute; what HTML cannot hold becomes U+FFFD."""
    return html.escape(_UNSAFE_IN_HTML.sub("\ufffd", text), quote=True)


def policy(script: str, style: str) -> str:
    """The Content-Security-Policy under which this script and this style run, and nothing is fetched or sent.

    Trusted Types are required and no policy for them exists: where a browser knows them, no string can become markup.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _digest(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
