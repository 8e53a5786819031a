"""Run a supervisor over an application named by import path: `python -m tests.serve.live.supervised APP SPACE WORKERS`."""

import sys

from itemspace.serve.config import ServeConfig
from itemspace.serve.run import Supervisor

if __name__ == "__main__":
    app, path, workers = sys.argv[1:]
    config = ServeConfig(spaces={"shop": path}, port=0, workers=int(workers))
    supervisor = Supervisor(config, app=app, linger_s=0.5, say=lambda line: print(line, flush=True))
    sys.exit(supervisor.run())
