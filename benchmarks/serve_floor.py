"""The least that any answer over HTTP costs here: the same supervisor, workers and protocol over an application that says
"ok" without doing anything. `python benchmarks/serve_floor.py serve_floor:bare SPACE WORKERS` serves it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from itemspace.serve.config import ServeConfig
from itemspace.serve.run import Supervisor


def bare(config: ServeConfig, *, systems: Any = None) -> Any:
    """An ASGI application that reads the body and answers `{}`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
                if kind == "lifespan.shutdown":
                    return
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


def main() -> None:
    app, path, workers = sys.argv[1:]
    config = ServeConfig(spaces={"shop": Path(path)}, port=0, workers=int(workers))
    sys.exit(Supervisor(config, app=app, say=lambda line: print(line, file=sys.stderr, flush=True)).run())


if __name__ == "__main__":
    main()
