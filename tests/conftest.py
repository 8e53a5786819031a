"""Property tests are not timed, and draw the same examples every time where CI runs them."""

import os

from hypothesis import settings

settings.register_profile("itemspace", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("itemspace")
