"""Enough of a W&B server on this machine: runs are made and resumed, history, summary, files and tables come in."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY = "team"
KEY = "0" * 40
_STREAM = re.compile(r"/files/(?P<entity>[^/]+)/(?P<project>[^/]+)/(?P<run>[^/]+)/file_stream")


@dataclass
class UploadedRun:
    """What the server holds of a run: history in the order of its lines, as W&B keeps it."""

    project: str
    group: str | None = None
    job_type: str | None = None
    display_name: str | None = None
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    attempts: int = 0

    def column(self, key: str) -> list[Any]:
        """A metric's values in the order of the history."""
        return [row[key] for _, row in sorted(self.history.items()) if key in row]


@dataclass
class WandbServer:
    """url: what WANDB_BASE_URL is. asked: the operations in order. runs: by id. artifacts, views: what was stored."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    runs: dict[str, UploadedRun] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    views: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def answer(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL operation."""
        match = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = match[1] if match else "anonymous"
        with self._lock:
            self.asked.append(name)
            handler: Callable[[Mapping[str, Any]], dict[str, Any]] | None = getattr(self, f"_on_{name}", None)
            return handler(variables) if handler else {}

    def stream(self, run: str, body: Mapping[str, Any]) -> None:
        """Takes the lines of a file stream."""
        with self._lock:
            stored = self.runs[run]
            for name, chunk in (body.get("files") or {}).items():
                lines = (
                    [json.loads(line) for line in chunk["content"]]
                    if name.endswith(("history.jsonl", "summary.json"))
                    else []
                )
                if name == "wandb-history.jsonl":
                    stored.history |= {chunk["offset"] + i: line for i, line in enumerate(lines)}
                elif name == "wandb-summary.json" and lines:
                    stored.summary = lines[-1]
            if body.get("complete"):
                stored.exit_code = body.get("exitcode")

    def _on_ServerFeaturesQuery(self, _: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"serverInfo": {"features": []}}

    def _on_Viewer(self, _: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {
            "viewer": {"id": "u", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}}
        }

    def _on_GetDefaultEntity(self, _: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"viewer": {"id": "u", "entity": ENTITY}}

    def _on_ArtifactType(self, _: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"project": None}

    def _on_UpsertView2(self, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.views.append(dict(values))
        return {
            "upsertView": {"view": {"id": str(len(self.views)), "name": values["name"]}, "inserted": True}
        }

    def _on_RunResumeStatus(self, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(values["name"])
        if run is None:
            return {"model": {"bucket": None}}
        last = json.dumps(run.history[max(run.history)]) if run.history else None
        bucket = {
            "id": values["name"],
            "name": values["name"],
            "summaryMetrics": json.dumps(run.summary),
            "displayName": run.display_name,
            "logLineCount": 0,
            "historyLineCount": len(run.history),
            "eventsLineCount": 0,
            "historyTail": json.dumps([last] if last else []),
            "eventsTail": "[]",
            "config": json.dumps(run.config),
            "tags": run.tags,
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"model": {"bucket": bucket}}

    def _on_UpsertBucket(self, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = values.get("name") or values.get("id")
        assert isinstance(name, str)
        inserted = name not in self.runs
        run = self.runs.setdefault(name, UploadedRun(values.get("project") or ""))
        run.attempts += values.get("displayName") is not None
        run.group = values.get("groupName") or run.group
        run.job_type = values.get("jobType") or run.job_type
        run.display_name = values.get("displayName") or run.display_name
        run.tags = list(values.get("tags") or run.tags)
        run.config |= json.loads(values.get("config") or "{}")
        bucket = {
            "id": name,
            "name": name,
            "displayName": run.display_name,
            "description": None,
            "config": json.dumps(run.config),
            "sweepName": None,
            "project": {"id": "p", "name": run.project, "entity": {"id": "e", "name": ENTITY}},
            "historyLineCount": len(run.history),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _on_CreateRunFiles(self, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = values.get("run") or values.get("runName") or "run"
        files = [{"name": name, "uploadUrl": self._place(f"{run}/{name}")} for name in values["files"]]
        return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": files}}

    def _on_CreateArtifact(self, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        given = dict(values.get("input") or values)
        self.artifacts.append(given)
        made = {
            "id": str(len(self.artifacts)),
            "state": "PENDING",
            "artifactSequence": {"id": "s", "latestArtifact": None},
        }
        return {"createArtifact": {"artifact": made}}

    def _on_CreateArtifactManifest(self, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        url = self._place(f"artifact/{values['artifactID']}/manifest.json")
        file = {"id": "f", "name": "m", "displayName": "m", "uploadUrl": url, "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _on_UpdateArtifactManifest(self, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        url = self._place(f"artifact/{values['artifactManifestID']}/manifest.json")
        file = {"id": "f", "name": "m", "displayName": "m", "uploadUrl": url, "uploadHeaders": []}
        return {"updateArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _on_CreateArtifactFiles(self, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        nodes = []
        for spec in values["input"]["artifactFiles"]:
            path = f"artifact/{spec['artifactID']}/{spec['name']}"
            nodes.append(
                {
                    "node": {
                        "id": path,
                        "name": spec["name"],
                        "displayName": spec["name"],
                        "storagePath": path,
                        "uploadUrl": self._place(path),
                        "uploadHeaders": [],
                        "uploadMultipartUrls": None,
                        "artifact": {"id": spec["artifactID"]},
                    }
                }
            )
        return {"createArtifactFiles": {"files": {"edges": nodes}}}

    def _on_CommitArtifact(self, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"commitArtifact": {"artifact": {"id": values.get("artifactID", "1"), "digest": "d"}}}

    def _place(self, path: str) -> str:
        return f"{self.url}/put/{path}"


@contextmanager
def wandb_server(refuses: int | None = None) -> Iterator[WandbServer]:
    """Serves until the block ends; ``refuses``: every request gets this HTTP status."""
    state = WandbServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self._body() or b"{}")
            if refuses:
                self._reply(refuses, {"error": "refused"})
            elif match := _STREAM.search(self.path):
                state.stream(match["run"], body)
                self._reply(200, {"exitcode": None, "limits": {}})
            else:
                query = body.get("query")  # wandb also tells how it is
                self._reply(200, {"data": state.answer(query, body.get("variables") or {})} if query else {})

        def do_PUT(self) -> None:
            state.files[self.path.removeprefix("/put/")] = self._body()
            self._reply(200, {})

        def do_GET(self) -> None:
            self._reply(404, {})

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _reply(self, status: int, value: object) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up is none."""

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
