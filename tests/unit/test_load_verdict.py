"""What a load is judged by, on figures that are made up."""

import json
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affect_load.generator_health import GeneratorHealth, HealthMonitor, worst
from affect_load.process_resources import ProcessResources, read_process_resources
from affect_load.report import RequestType, write_report
from affect_load.request_counts import Counts
from affect_load.stages import RATE_PER_USER, LoadKind, Measured, Stage, Target, plan
from affect_load.verdict import LoadOutcome, Verdict, judge

TARGET = Target(p95_ms=100)
IDLE = GeneratorHealth(0.1, 1.0)
BUSY = GeneratorHealth(0.95, 1.0)
LATE = GeneratorHealth(0.1, 60.0)
SECONDS = 10.0


def measured(users=10, *, time_ms=20, share=1.0, errors=0, refused=0, generator=IDLE, memory=100.0, files=20.0):
    answered = round(users * RATE_PER_USER * SECONDS * share)
    counts = Counts(answered, errors, refused, {time_ms: answered})
    return Measured(Stage(users, SECONDS), SECONDS, counts, generator, ProcessResources(memory * 2**20, files))


def verdict(kind, stages, errors=None):
    total = sum((one.counts for one in stages), Counts())
    return judge(kind, stages, TARGET, total, Counter(errors or {}))


times = st.dictionaries(st.integers(1, 10_000), st.integers(1, 50), min_size=1)


@given(times, st.floats(0.01, 1))
def test_a_percentile_is_a_time_that_so_many_answers_did_not_exceed(times_ms, share):
    counts = Counts(times_ms=times_ms)
    every = sorted(Counter(times_ms).elements())
    found = counts.percentile_ms(share)
    assert sum(time <= found for time in every) >= share * len(every) - 1e-6
    assert sum(time < found for time in every) < share * len(every) + 1e-6


def test_no_answer_has_no_percentile():
    assert Counts(errors=3).percentile_ms(0.95) is None


@given(times, times)
def test_what_came_since_is_what_was_added(before, after):
    first = Counts(3, 1, 2, before)
    second = Counts(5, 0, 1, after)
    assert (first + second).since(first) == second


def test_steps_close_in_on_what_the_service_can():
    stages: list[Measured] = []
    steps = plan(LoadKind.STEPS, 20, SECONDS, TARGET)
    while (stage := steps.next(stages)) is not None:
        stages.append(measured(stage.users, time_ms=20 if stage.users <= 70 else 400))
    found = verdict(LoadKind.STEPS, stages)
    assert found.outcome is LoadOutcome.PASSED
    assert 0.95 * 70 * RATE_PER_USER <= found.highest_rate <= 70 * RATE_PER_USER
    assert len(stages) < 12


def test_a_service_that_cannot_do_anything_is_not_asked_for_ever():
    stages: list[Measured] = []
    steps = plan(LoadKind.STEPS, 20, SECONDS, TARGET)
    while (stage := steps.next(stages)) is not None:
        assert stage.users >= 1
        stages.append(measured(stage.users, time_ms=400))
    assert verdict(LoadKind.STEPS, stages).outcome is LoadOutcome.FAILED


def test_a_spike_is_not_judged_but_what_comes_after_it_is():
    spike = plan(LoadKind.SPIKE, 20, SECONDS, TARGET)
    before, during, after = (spike.next([measured()] * number) for number in range(3))
    assert [stage.judged for stage in (before, during, after)] == [True, False, True]
    assert during.users == 4 * before.users == 4 * after.users
    assert spike.next([measured()] * 3) is None


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ({"time_ms": 101}, "p95 101 ms"),
        ({"share": 0.5}, "10/s answered"),
        ({"refused": 30}, "13.0% refused"),
    ],
)
def test_a_stage_that_misses_its_target_fails(missing, sentence):
    found = verdict(LoadKind.SPIKE, [measured(), measured(**missing)])
    assert found.outcome is LoadOutcome.FAILED
    assert sentence in found.reasons[0]


@pytest.mark.parametrize("generator", [BUSY, LATE])
@pytest.mark.parametrize("kind", LoadKind)
def test_what_is_missed_while_the_generator_is_at_its_limit_is_void(kind, generator):
    found = verdict(kind, [measured(), measured(15, time_ms=400, generator=generator)])
    assert found.outcome is LoadOutcome.VOID
    assert "the generator was the bottleneck at 30/s" in found.reasons[0]


@pytest.mark.parametrize("kind", LoadKind)
def test_an_error_fails_whatever_else_holds(kind):
    found = verdict(kind, [measured(errors=1, generator=BUSY)] * 4, {"raw: 500": 4, "form: 502": 1})
    assert found.outcome is LoadOutcome.FAILED
    assert found.reasons[0].endswith("most often: raw: 500")


@pytest.mark.parametrize("kind", LoadKind)
def test_nothing_that_came_back_is_a_failure(kind):
    assert verdict(kind, []).outcome is LoadOutcome.FAILED


@pytest.mark.parametrize("kind", LoadKind)
def test_a_load_that_ends_before_its_first_stage_is_void(kind):
    assert judge(kind, [], TARGET, Counts(3, 0, 0, {1: 3}), Counter()).outcome is LoadOutcome.VOID


@pytest.mark.parametrize("kind", LoadKind)
def test_refusals_are_stated_and_are_no_errors(kind):
    found = verdict(kind, [measured(refused=1)] * 4)
    assert found.outcome is LoadOutcome.PASSED
    assert any("4 of 804 requests were refused" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        ({"memory": 101}, LoadOutcome.PASSED),
        ({"memory": 103}, LoadOutcome.FAILED),
        ({"files": 21}, LoadOutcome.FAILED),
        ({"memory": 90, "files": 10}, LoadOutcome.PASSED),
    ],
)
def test_a_soak_is_held_to_memory_and_open_files(end, outcome):
    stages = [measured(memory=50), *[measured()] * 2, measured(**end)]
    assert verdict(LoadKind.SOAK, stages).outcome is outcome


def test_a_soak_of_a_gateway_that_says_nothing_of_itself_is_void():
    assert read_process_resources("http://127.0.0.1:9") is None
    unseen = Measured(Stage(1, 1.0), 1.0, Counts(2, 0, 0, {1: 2}), IDLE, None)
    assert verdict(LoadKind.SOAK, [unseen] * 4).outcome is LoadOutcome.VOID


def test_a_watch_notices_who_holds_everybody_up():
    naps = iter([0.0] * 5)

    def hold_up(seconds):
        if next(naps, None) is None:
            raise StopIteration
        ends = time.perf_counter() + seconds + 0.05
        while time.perf_counter() < ends:
            pass

    monitor = HealthMonitor(hold_up)
    with pytest.raises(StopIteration):
        monitor.run()
    generator = monitor.collect()
    assert generator.late_ms >= 50
    assert generator.cpu_share > 0
    assert monitor.collect().late_ms == 0
    assert worst([generator, IDLE]).late_ms == generator.late_ms


@pytest.mark.parametrize("kind", LoadKind)
def test_the_report_is_one_file_with_every_figure(tmp_path, kind):
    stages = [measured(), measured(15, time_ms=400, refused=7)]
    found = verdict(kind, stages)
    write_report(tmp_path, kind, stages, TARGET, found, [RequestType("raw <b>", stages[0].counts)])
    page, document = (tmp_path / "load.html").read_text(), json.loads((tmp_path / "load.json").read_text())
    assert "data:image/png;base64," in page
    assert "<b>" not in page.replace("<body>", "")
    assert not any(foreign in page for foreign in ("http:", "https:", 'src="/', "<script"))
    assert [stage["refused"] for stage in document["stages"]] == [0, 7]
    assert document["verdict"] == found.outcome.name.lower()
    assert document["highest_rate"] == found.highest_rate


def test_the_report_of_nothing_says_so(tmp_path):
    write_report(tmp_path, LoadKind.STEPS, [], TARGET, Verdict(LoadOutcome.FAILED, ("no request came back",)), [])
    assert "no request came back" in (tmp_path / "load.html").read_text()
