"""Who may use the studio: whoever has the link, on this machine, from the studio's own page."""

import hmac
import secrets
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jnst.errors import quote

# The page loads nothing from elsewhere, runs no inline script, and is shown in no other page.
_LONGEST_PATH = 1000  # letters of an address before its question mark; the longest name of a file has 255
HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def make_token() -> str:
    """A secret for the link, of 256 bits."""
    return secrets.token_urlsafe(32)


class Guard:
    """Middleware that answers 403 to every request but those of the studio's own page.

    A request needs the token, in a cookie that the link sets. Its `Host` must be this machine by number or as
    localhost, at the studio's port: a foreign name that was made to resolve to this machine (DNS rebinding) is refused.
    Its `Origin`, where there is one, must be the page's; requests that change something must have one.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app, self._token = app, token
        self.cookie = f"jnst-studio-{port}"
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        if port == 80:
            self._hosts |= {"127.0.0.1", "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        reason = "only HTTP is spoken here" if scope["type"] != "http" else self._refusal(request)
        if reason:
            # The connection ends with it: who is refused takes no place among the few that there are.
            refusal = PlainTextResponse(f"refused: {reason}\n", 403, headers={"connection": "close"})
            await _with_headers(refusal, None)(scope, receive, send)
            return
        fresh = self._has_link(request)
        cookie = f"{self.cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/" if fresh else None
        await _with_headers(self._app, cookie)(scope, receive, send)

    def _refusal(self, request: Request) -> str:
        """Why the request is refused, or nothing."""
        if len(request.url.path) > _LONGEST_PATH:
            return "the address is too long"
        host = request.headers.get("host", "")
        if host not in self._hosts:
            return f"the Host {quote(host)} is not this studio; use the link that `jnst studio` printed"
        origin = request.headers.get("origin")
        if origin is None and request.method not in ("GET", "HEAD"):
            return "a request that changes something must come from the studio's page, with its Origin"
        if origin is not None and origin != f"http://{host}":
            return f"the Origin {quote(origin)} is not the studio's page"
        # A page at another port of this machine is of the same site, and brings the cookie along.
        site = request.headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and request.url.path != "/":
            return "another page asks for this"
        if not (self._has_cookie(request) or self._has_link(request)):
            return "the token is missing or wrong; use the whole link that `jnst studio` printed"
        return ""

    def _has_cookie(self, request: Request) -> bool:
        return _same(request.cookies.get(self.cookie, ""), self._token)

    def _has_link(self, request: Request) -> bool:
        return request.url.path == "/" and _same(request.query_params.get("token", ""), self._token)


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())


def _with_headers(app: ASGIApp, cookie: str | None) -> ASGIApp:
    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                extra += [(b"set-cookie", cookie.encode())] if cookie else []
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        await app(scope, receive, send_more)

    return run
