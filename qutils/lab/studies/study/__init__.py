"""The PTQ-against-QAT study: plan, fit to the machine, run, tabulate."""

from qutils.lab.studies.study.cost import fit_to_machine
from qutils.lab.studies.study.plan import Job, plan_jobs
from qutils.lab.studies.study.pool import run_jobs

__all__ = ["Job", "fit_to_machine", "plan_jobs", "run_jobs"]
