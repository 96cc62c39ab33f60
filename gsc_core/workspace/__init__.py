"""What is kept between sessions: the run folders under GSC_HOME."""

from gsc_core.extras import require

require("sqlmodel")
