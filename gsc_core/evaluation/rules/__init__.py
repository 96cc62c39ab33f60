"""The rules that turn outlier scores into a threshold, one file each.

`gsc_core.evaluation.thresholds.RULES` is the tuple of them that command line, app, report, export
and watch read: a new rule is one class here and one line there.
"""
