"""The audit of dependencies: what it calls sound, what not, and what it does not know."""

import pytest
from scripts.audit import print_report, report

SOUND = {"name": "numpy", "version": "2.0", "vulns": []}
VULNERABLE = {"name": "pillow", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1", "2.0"]}]}
UNKNOWN = {"name": "jinja2", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "required", "status", "said"),
    [
        ([SOUND], True, 0, "1 packages looked up, no vulnerability known"),
        ([SOUND, VULNERABLE], False, 1, "pillow 1.0: CVE-1, fixed in 1.1, 2.0"),
        ([SOUND, UNKNOWN], False, 0, "NOT AUDITED: 1 of 2 packages"),
        ([SOUND, UNKNOWN], True, 1, "NOT AUDITED: 1 of 2 packages"),
        ([UNKNOWN], False, 0, "NOT AUDITED: 1 of 1 packages"),
    ],
    ids=["sound", "vulnerable", "some unknown", "some unknown, required", "all unknown"],
)
def test_a_vulnerability_fails_and_what_was_not_looked_up_is_never_called_sound(
    capsys, packages, required, status, said
):
    assert print_report(report({"dependencies": packages}), required=required) == status
    printed = "".join(capsys.readouterr())
    assert said in printed
    assert ("no vulnerability known" in printed) == (SOUND in packages and status == 0)
