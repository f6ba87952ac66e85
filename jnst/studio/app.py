"""The studio's routes: a page, what it shows, and what it asks for."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from jnst.errors import JnstError
from jnst.errors import quote as quote_value
from jnst.images.display import jpeg_bytes
from jnst.studio.library import MAX_BYTES, shrink, tidy_name, too_large
from jnst.studio.security import Guard
from jnst.studio.session import Studio

STATIC = Path(__file__).parent / "static"
_MAX_JSON = 64 * 1024
_POLL, _HEARTBEAT = 0.1, 10.0  # seconds
_FILES = {"studio.js": "text/javascript", "studio.css": "text/css"}


def make_app(studio: Studio, *, token: str, port: int) -> ASGIApp:
    """The application for a studio that listens at that port of the loopback interface."""
    routes = _Routes(studio)
    app = Starlette(
        routes=[
            Route("/", routes.page),
            Route("/static/{name}", routes.static),
            Route("/events", routes.events),
            Route("/state", routes.state),
            Route("/pictures", routes.add_picture, methods=["POST"]),
            Route("/pictures/{id}", routes.thumbnail),
            Route("/draft", routes.draft, methods=["POST"]),
            Route("/paintings", routes.paint, methods=["POST"]),
            Route("/paintings/{number:int}/picture", routes.picture),
            Route("/paintings/{number:int}/download", routes.download),
            Route("/paintings/{number:int}/curves", routes.curves),
            Route("/paintings/{number:int}/moments/{step:int}", routes.moment),
            Route("/paintings/{number:int}/knobs", routes.knobs, methods=["POST"]),
            Route("/paintings/{number:int}/{action}", routes.act, methods=["POST"]),
            Route("/kept/{name}", routes.kept),
            Route("/kept/{name}/thumbnail", routes.kept_thumbnail),
        ],
        exception_handlers={JnstError: _explain, OSError: _explain_system},
    )
    return Guard(app, token=token, port=port)


def _explain(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _explain_system(request: Request, error: Exception) -> Response:
    """Of a disk that is full, or too many open files."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return JSONResponse({"error": f"the system refuses it: {reason}"}, 503)


class _TooLarge(Exception):
    """More bytes than allowed."""


async def _read_body(request: Request, limit: int) -> bytes:
    """The body, refused by its announced length before a byte of it is read, and else while it comes."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or len(announced) > 18 or int(announced) > limit:
        raise _TooLarge
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise _TooLarge
            parts.append(part)
    except asyncio.CancelledError:  # the studio ends, and does not wait for the rest
        raise ClientDisconnect from None
    return b"".join(parts)


async def _read_json(request: Request) -> dict[str, Any]:
    try:
        body = await _read_body(request, _MAX_JSON)
        data = json.loads(body) if body else {}
    except _TooLarge:
        raise JnstError(f"the request is above {_MAX_JSON} bytes") from None
    except (ValueError, RecursionError):
        raise JnstError("the request is not JSON") from None
    except ClientDisconnect:
        raise JnstError("the request is cut off") from None
    if not isinstance(data, dict):
        raise JnstError("the request is not a JSON object")
    return data


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg")


class _Routes:
    """One method per route. What takes time runs in another thread, so that the page stays live."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def _do(self, work: Callable[..., Any], *arguments: Any) -> Response:
        answer = await run_in_threadpool(work, *arguments)
        return JSONResponse({"ok": True, "answer": answer})

    async def page(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html", media_type="text/html")

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            return Response(status_code=404)
        return FileResponse(STATIC / name, media_type=_FILES[name])

    async def state(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._studio.state))

    async def events(self, request: Request) -> Response:
        """The state as server-sent events, at once and whenever it changes."""

        async def stream() -> AsyncIterator[str]:
            seen, silent = -1, 0.0
            while not self._studio.closed and not await request.is_disconnected():
                if self._studio.version != seen:
                    state = await run_in_threadpool(self._studio.state)
                    seen, silent = state["version"], 0.0
                    yield f"data: {json.dumps(state)}\n\n"
                elif silent >= _HEARTBEAT:
                    silent = 0.0
                    yield ": nothing new\n\n"
                await asyncio.sleep(_POLL)
                silent += _POLL
            if self._studio.closed:
                yield f"event: closed\ndata: {json.dumps(self._studio.farewell)}\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def add_picture(self, request: Request) -> Response:
        """The body is the file as it is; its name and role are in the address."""
        name, role = request.query_params.get("name", "picture"), request.query_params.get("role", "")
        try:
            data = await _read_body(request, MAX_BYTES)
        except _TooLarge:
            # The rest is not read: the connection ends with this answer.
            return JSONResponse({"error": too_large(name)}, 413, headers={"connection": "close"})
        except ClientDisconnect:
            return Response(status_code=400)
        return await self._do(self._studio.add_picture, data, name, role)

    async def thumbnail(self, request: Request) -> Response:
        return _jpeg(self._studio.library[request.path_params["id"]].thumbnail)

    async def draft(self, request: Request) -> Response:
        return await self._do(self._studio.set_draft, await _read_json(request))

    async def paint(self, request: Request) -> Response:
        return await self._do(self._studio.paint, await _read_json(request))

    async def picture(self, request: Request) -> Response:
        number, small = request.path_params["number"], "small" in request.query_params

        def encode() -> bytes:
            seen = self._studio.look(number)
            return jpeg_bytes(shrink(seen) if small else seen, quality=92)

        return _jpeg(await run_in_threadpool(encode))

    async def moment(self, request: Request) -> Response:
        number, step = request.path_params["number"], request.path_params["step"]

        def encode() -> bytes:
            return jpeg_bytes(shrink(self._studio.look_back(number, step), 160))

        return _jpeg(await run_in_threadpool(encode))

    async def download(self, request: Request) -> Response:
        name, data = await run_in_threadpool(self._studio.download, request.path_params["number"])
        disposition = f"attachment; filename*=UTF-8''{quote(tidy_name(name))}"
        return Response(data, media_type="image/png", headers={"content-disposition": disposition})

    async def curves(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._studio.curves, request.path_params["number"]))

    async def knobs(self, request: Request) -> Response:
        return await self._do(self._studio.set_knobs, request.path_params["number"], await _read_json(request))

    async def act(self, request: Request) -> Response:
        number, action = request.path_params["number"], request.path_params["action"]
        if action == "undo":
            step = (await _read_json(request)).get("step")
            if type(step) is not int:
                raise JnstError(f"step is {quote_value(step)}; expected the step of a moment")
            return await self._do(self._studio.undo, number, step)
        actions = {
            "pause": self._studio.pause,
            "go_on": self._studio.go_on,
            "stop": self._studio.stop,
            "keep": self._studio.keep,
            "double": self._studio.double,
        }
        if action not in actions:
            return Response(status_code=404)
        return await self._do(actions[action], number)

    async def kept(self, request: Request) -> Response:
        path = await run_in_threadpool(self._studio.kept.find, request.path_params["name"])
        return FileResponse(path, media_type="image/png", filename=path.name)

    async def kept_thumbnail(self, request: Request) -> Response:
        return _jpeg(await run_in_threadpool(self._studio.kept.thumbnail, request.path_params["name"]))
