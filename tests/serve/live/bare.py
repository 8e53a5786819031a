"""A small application for workers: it says who answers, waits when told to, and can be told to die."""

import asyncio
import os
import signal

from itemspace.core.errors import RecipeError


def make(config, *, systems=None):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{kind}"
                await send({"type": f"lifespan.{kind}.complete"})
            return
        assert (await receive())["type"] == "http.request"
        if scope["path"] == "/die":
            os.kill(os.getpid(), signal.SIGKILL)
        if scope["path"] == "/slow":
            await asyncio.sleep(float(scope["query_string"] or b"0.5"))
        body = f"{os.getpid()} {systems} {os.environ['OMP_NUM_THREADS']}".encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def broken(config, *, systems=None):
    raise RecipeError("this application is never made.")
