"""The HTTP front end: the API and the page. Translates to `Studio` and back, and nothing more.

application  the factory              server    the port, uvicorn, shutting down
access       who asks                 caller    what every route gets
bodies       what comes in            views     what goes out
errors       code → status            envelope  trace id, headers, body limits
jobs, events, assets, files, places, webhooks, page: the routes
"""

from genyard.frontends.http.application import create_http_app
from genyard.frontends.http.server import bind, serve_http

__all__ = ["bind", "create_http_app", "serve_http"]
