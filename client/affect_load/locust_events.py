"""Listeners of locust's events: they add our options, monitor every process, and judge the load at the end."""

import sys
from collections import Counter
from typing import Any

import gevent
from locust import events, runners
from locust.env import Environment

from affect_client.credentials import CredentialsError
from affect_load.generator_health import GeneratorHealth, HealthMonitor
from affect_load.options import add_arguments, options, read_credentials
from affect_load.pictures import NoPictures, pictures
from affect_load.report import HTML_FILE, RequestType, write_report
from affect_load.shape import PlannedShape, counts_by_name, total_counts
from affect_load.verdict import judge

_HEALTH_KEY = "affect_generator_health"

runners.WORKER_REPORT_INTERVAL = 0.5  # locust's own three seconds would blur the ends of a stage


@events.init_command_line_parser.add_listener
def _add_arguments(parser: Any) -> None:
    add_arguments(parser)


@events.init.add_listener
def _check(environment: Environment, **_: Any) -> None:
    """Exit at once if the pictures or the credentials cannot be used."""
    chosen = options(environment.parsed_options)
    try:
        pictures(chosen.pictures)
        read_credentials(chosen.ca)
    except (NoPictures, CredentialsError) as exc:
        sys.exit(f"load: {exc}")


@events.init.add_listener
def _monitor_health(environment: Environment, **_: Any) -> None:
    """Monitor this process: a worker reports to the master; the process with the load shape collects the reports."""
    monitor = HealthMonitor(gevent.sleep)
    gevent.spawn(monitor.run)
    shape = environment.shape_class
    if isinstance(environment.runner, runners.WorkerRunner):
        environment.events.report_to_master.add_listener(
            lambda client_id, data: data.update({_HEALTH_KEY: tuple(monitor.collect())})  # noqa: ARG005
        )
    elif isinstance(shape, PlannedShape):
        environment.events.worker_report.add_listener(
            lambda client_id, data: shape.health_reports.append(GeneratorHealth(*data[_HEALTH_KEY]))  # noqa: ARG005
        )
        gevent.spawn(_collect_health, monitor, shape)


def _collect_health(monitor: HealthMonitor, shape: PlannedShape) -> None:
    while True:
        gevent.sleep(1)
        shape.health_reports.append(monitor.collect())


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    """Print the verdict, write the report, and set the exit status."""
    shape = environment.shape_class
    if isinstance(environment.runner, runners.WorkerRunner) or not isinstance(shape, PlannedShape):
        return
    chosen = options(environment.parsed_options)
    errors = {f"{one.name}: {one.error}": one.occurrences for one in environment.stats.errors.values()}
    verdict = judge(chosen.kind, shape.measured, chosen.target, total_counts(environment.stats), Counter(errors))
    environment.process_exit_code = int(verdict.outcome)
    requests = [RequestType(name, counts) for name, counts in counts_by_name(environment.stats).items()]
    write_report(chosen.out, chosen.kind, shape.measured, chosen.target, verdict, requests)
    sys.stdout.write(f"{verdict.outcome.name}: {'; '.join(verdict.reasons)}\nreport: {chosen.out / HTML_FILE}\n")
    sys.stdout.flush()
