"""A kind of job small enough to see through, that can be told to fail, to die and to dawdle."""

import os
import signal
import time

import numpy as np

from itemspace.core.errors import DataError
from itemspace.core.files import as_path
from itemspace.jobs.chunks import Phase
from itemspace.jobs.folder import Job
from itemspace.jobs.results import joined_arrays, place_folder
from itemspace.jobs.work import Work


def plan(out, rows=20, size=4, job=None, **options):
    """A job that squares row numbers.

    poison: rows that raise. flaky: chunks that raise once. deadly: chunks that kill their worker, as often as said. seconds:
    what a chunk takes. fits: whether a factor is fitted first.
    """
    fits = [Phase("fit", 1, 1, ("factor",), "folder")] if options.get("fits") else []
    phases = [*fits, Phase("square", rows, size)]
    home = job or as_path(out).with_name(f"{as_path(out).name}.job")
    return Job.plan(home, Squares.PATH, [rows, size], options, out, lambda folder: phases)


class Squares(Work):
    PATH = "tests.jobs.works:Squares"

    def times(self, name):
        """How often this has been asked for, over all processes."""
        place = self.job.path / "scratch" / name
        place.parent.mkdir(exist_ok=True)
        with place.open("a") as file:
            file.write("x")
        return place.stat().st_size

    def fit(self, chunk, folder, scratch):
        (folder / "factor.txt").write_text("3")

    def make(self, chunk):
        options = self.job.options
        time.sleep(options.get("seconds", 0))
        if chunk.number in options.get("flaky", ()) and self.times(f"flaky-{chunk.number}") == 1:
            raise OSError("the network blinked")
        deaths = options.get("deadly", {}).get(str(chunk.number), 0)
        if self.times(f"deadly-{chunk.number}") <= deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        rows = np.arange(chunk.start, chunk.stop)
        bad = np.intersect1d(rows, options.get("poison", ()))
        if len(bad):
            raise DataError(f"cannot square {bad[0]}", nothing_written=False)
        factor = 1
        if options.get("fits"):
            factor = int((self.job.output(self.job.phase("fit")[0]) / "factor.txt").read_text())
        return (rows * rows * factor).astype(np.int64)

    def names(self, chunk):
        return [f"row-{row}" for row in range(chunk.start, chunk.stop)]

    def finish(self):
        def fill(to):
            total = self.job.phase("square").total
            joined_arrays(self.job.outputs("square"), total, to / "squares.npy")
            return {"rows": total}

        return place_folder(self.job, fill)
