"""What happens around a load: options, watching the generator in every process, and the verdict at the end."""

import sys
from collections import Counter
from typing import Any

import gevent
from locust import events, runners
from locust.env import Environment

from affect_client.credentials import CredentialsError
from affect_load.generator import Strain, Watch
from affect_load.options import add_arguments, options, read_credentials
from affect_load.pictures import NoPictures, pictures
from affect_load.report import HTML_FILE, Sort, write_report
from affect_load.shape import Planned, by_sort, counted
from affect_load.verdict import judge

_STRAIN_KEY = "affect_strain"

runners.WORKER_REPORT_INTERVAL = 0.5  # a stage's window would blur by locust's three seconds


@events.init_command_line_parser.add_listener
def _add_arguments(parser: Any) -> None:
    add_arguments(parser)


@events.init.add_listener
def _check(environment: Environment, **_: Any) -> None:
    """End at once where no user could ask."""
    chosen = options(environment.parsed_options)
    try:
        pictures(chosen.pictures)
        read_credentials(chosen.ca)
    except (NoPictures, CredentialsError) as exc:
        sys.exit(f"load: {exc}")


@events.init.add_listener
def _watch(environment: Environment, **_: Any) -> None:
    """Watch this process: a worker tells the master, whoever has the shape keeps what comes."""
    watch = Watch(gevent.sleep)
    gevent.spawn(watch.run)
    shape = environment.shape_class
    if isinstance(environment.runner, runners.WorkerRunner):
        environment.events.report_to_master.add_listener(
            lambda client_id, data: data.update({_STRAIN_KEY: tuple(watch.take())})  # noqa: ARG005
        )
    elif isinstance(shape, Planned):
        environment.events.worker_report.add_listener(
            lambda client_id, data: shape.strains.append(Strain(*data[_STRAIN_KEY]))  # noqa: ARG005
        )
        gevent.spawn(_keep, watch, shape)


def _keep(watch: Watch, shape: Planned) -> None:
    while True:
        gevent.sleep(1)
        shape.strains.append(watch.take())


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    """Say the verdict, write the report, and end with its status."""
    shape = environment.shape_class
    if isinstance(environment.runner, runners.WorkerRunner) or not isinstance(shape, Planned):
        return
    chosen = options(environment.parsed_options)
    errors = {f"{one.name}: {one.error}": one.occurrences for one in environment.stats.errors.values()}
    verdict = judge(chosen.kind, shape.measured, chosen.target, counted(environment.stats), Counter(errors))
    environment.process_exit_code = int(verdict.outcome)
    sorts = [Sort(name, counts) for name, counts in by_sort(environment.stats).items()]
    write_report(chosen.out, chosen.kind, shape.measured, chosen.target, verdict, sorts)
    sys.stdout.write(f"{verdict.outcome.name}: {'; '.join(verdict.reasons)}\nreport: {chosen.out / HTML_FILE}\n")
    sys.stdout.flush()
