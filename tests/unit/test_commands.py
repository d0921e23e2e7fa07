"""Every command's help is true: examples that its parser accepts, options with types and defaults, and a version."""

import argparse
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
from bench import evaluate, gateway, load, overload, rpc_load, serve, versions
from scripts import audit, demo, images
from scripts import load as load_script

from affect_client import predict_command
from affect_contract.commands import DISTRIBUTION
from affect_dataset.faces import __main__ as faces
from affect_evaluation import __main__ as evaluation
from affect_load.options import add_arguments as add_load_arguments
from affect_models import __main__ as models
from affect_serving import __main__ as serving
from affect_serving import probe
from affect_training import __main__ as training
from affect_training import imagenet
from affect_training.features import command as features
from tests.conftest import ROOT

VALUES = {
    "A,B", "A,B,C", "ADDRESS", "BYTES", "CONDITION", "DIR", "FILE", "FRACTION", "HOST:PORT", "I/N", "IMAGE",
    "KEY", "MILLISECONDS", "N", "NAME", "NAME|FILE", "NUMBER", "PATH", "PERCENT", "PORT", "SECONDS", "URL",
    "[BACKBONE=]imagenet|none|DIR", "f32|bf16", "debug|info|warning|error", "text|json", "true|false",
}  # fmt: skip
"""What may stand for a value in a help."""

OWN_VERSION = {"affect-predict", "affect-models promote", "affect-models rollback"}
"""Commands whose ``--version N`` names a model's version."""


def parsers():
    """Every command's parser, subcommands among them."""
    commands = (
        training._parser(),
        features.parser(),
        imagenet._parser(),
        faces._parser(),
        serving._parser(),
        serving._key_parser(),
        probe._parser(),
        predict_command._parser(),
        evaluation._inference_parser()[0],
        *(make()[0] for make in evaluation._COMMANDS.values()),
        models._parser(),
        demo._parser(),
        load_script._parser(),
        images._parser(),
        audit._parser(),
        *(one._parser() for one in (evaluate, gateway, load, overload, rpc_load, serve, versions)),
    )
    return [one for command in commands for one in with_subcommands(command)]


def with_subcommands(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


each_command = pytest.mark.parametrize("parser", [pytest.param(one, id=one.prog) for one in parsers()])


def load_options():
    """The options that the load tests add to locust's own."""
    parser = argparse.ArgumentParser(prog="locust")
    add_load_arguments(parser)
    return parser


OPTIONS = [
    pytest.param(action, id=f"{parser.prog} {action.option_strings[-1] if action.option_strings else action.metavar}")
    for parser in [*parsers(), load_options()]
    for action in parser._actions
    if action.help is not argparse.SUPPRESS
]


@each_command
def test_the_help_says_what_the_command_does_and_shows_examples(parser, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--help"])
    assert ended.value.code == 0
    shown = joined(capsys.readouterr().out)
    assert joined(parser.description) in shown
    assert re.fullmatch(r"[A-Z].*\.", parser.description)
    assert parser.examples
    assert shown.endswith(joined(f"examples: {' '.join(parser.examples)}"))


@each_command
def test_every_example_is_a_command_line_that_the_parser_accepts(parser):
    for example in parser.examples:
        words, prog = shlex.split(example), parser.prog.split()
        assert words[: len(prog)] == prog
        rest = words[len(prog) :]
        assert serving.read_settings(rest) if prog == ["affect-serve"] else parser.parse_args(rest)


@each_command
def test_every_command_knows_the_version_of_its_distribution(parser, capsys):
    if parser.prog in OWN_VERSION:
        return
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{parser.prog} {version(DISTRIBUTION)}\n"


def test_every_command_of_the_distribution_is_tested_here():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) <= {parser.prog for parser in parsers()}


def test_a_command_that_asks_for_a_version_of_the_model_still_knows_its_own(capsys):
    assert predict_command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"affect-predict {version(DISTRIBUTION)}\n"
    assert "alone prints the program's version" in joined(predict_command._parser().format_help())


@pytest.mark.parametrize("action", OPTIONS)
def test_every_option_says_what_it_takes_and_what_it_is_without(action):
    assert action.help
    assert len(action.help.split()) > 1
    if action.nargs == 0:
        assert action.metavar is None
        return
    is_command = isinstance(action, argparse._SubParsersAction)
    assert is_command or action.choices or action.metavar in VALUES
    is_given_always = action.required or (not action.option_strings and action.nargs != "?")
    assert is_given_always or "default: " in action.help


@each_command
def test_an_abbreviated_option_is_refused(parser, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--hel"])
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_no_help_waits_for_what_only_the_work_needs():
    heavy = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "openvino", "locust"}
    code = (
        "import sys; from tests.unit.test_commands import parsers; [one.format_help() for one in parsers()];"
        f"print(*sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def joined(text: str) -> str:
    """A text without the line breaks of a terminal or a shell."""
    return " ".join(text.replace("\\\n", " ").split())
