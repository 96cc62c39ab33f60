"""What is kept between sessions: the run folders under GSC_HOME."""
