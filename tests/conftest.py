"""What holds for every test."""

import os

# An app that a test opens starts no worker: it would do the jobs of the tests that come after.
os.environ["GSC_WORKERS"] = "elsewhere"
