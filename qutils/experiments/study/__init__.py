"""The PTQ-against-QAT study: plan, fit to the machine, run, tabulate."""

from qutils.experiments.study.cost import fit_to_machine
from qutils.experiments.study.plan import Job, plan_jobs
from qutils.experiments.study.pool import run_jobs

__all__ = ["Job", "fit_to_machine", "plan_jobs", "run_jobs"]
