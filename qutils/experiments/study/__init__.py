"""The PTQ-against-QAT study: plan, run, tabulate."""

from qutils.experiments.study.plan import Job, plan_jobs
from qutils.experiments.study.pool import run_jobs

__all__ = ["Job", "plan_jobs", "run_jobs"]
