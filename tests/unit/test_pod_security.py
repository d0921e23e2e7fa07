"""The check of the restricted standard finds what each of its controls forbids."""

import copy
from collections.abc import Callable

import pytest

from tests.pod_security import violations

GOOD = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "one",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}],
}


def test_what_is_allowed_is_found_so():
    assert violations(GOOD) == []
    more = copy.deepcopy(GOOD)
    more["containers"][0]["securityContext"]["capabilities"]["add"] = ["NET_BIND_SERVICE"]
    more["securityContext"]["sysctls"] = [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]
    assert violations(more, {"container.apparmor.security.beta.kubernetes.io/one": "runtime/default"}) == []


def _set(*path, value) -> Callable[[dict], None]:
    def change(pod: dict) -> None:
        for step in path[:-1]:
            pod = pod.setdefault(step, {}) if isinstance(step, str) else pod[step]
        pod[path[-1]] = value

    return change


def of_container(*path, value) -> Callable[[dict], None]:
    return _set("containers", 0, *path, value=value)


FORBIDDEN = {
    "hostNetwork": _set("hostNetwork", value=True),
    "hostPID": _set("hostPID", value=True),
    "hostIPC": _set("hostIPC", value=True),
    "volume hostPath": _set("volumes", value=[{"name": "x", "hostPath": {"path": "/"}}]),
    "volume nfs": _set("volumes", value=[{"name": "x", "nfs": {"server": "x", "path": "/"}}]),
    "sysctl kernel.msgmax": _set("securityContext", "sysctls", value=[{"name": "kernel.msgmax", "value": "1"}]),
    "runAsUser": _set("securityContext", "runAsUser", value=0),
    "hostProcess": _set("securityContext", "windowsOptions", value={"hostProcess": True}),
    "AppArmor": _set("securityContext", "appArmorProfile", value={"type": "Unconfined"}),
    "seLinuxOptions": _set("securityContext", "seLinuxOptions", value={"type": "spc_t"}),
    "one: runAsNonRoot": _set("securityContext", "runAsNonRoot", value=False),
    "one: seccompProfile": _set("securityContext", "seccompProfile", value={"type": "Unconfined"}),
    "one: runAsUser": of_container("securityContext", "runAsUser", value=0),
    "one: privileged": of_container("securityContext", "privileged", value=True),
    "one: allowPrivilegeEscalation": of_container("securityContext", "allowPrivilegeEscalation", value=True),
    "one: procMount": of_container("securityContext", "procMount", value="Unmasked"),
    "one: capabilities": of_container("securityContext", "capabilities", value={"drop": ["NET_RAW"]}),
    "one: seLinuxOptions": of_container("securityContext", "seLinuxOptions", value={"user": "root"}),
    "one: hostPort": of_container("ports", value=[{"containerPort": 80, "hostPort": 80}]),
    "one: host": of_container("livenessProbe", value={"httpGet": {"port": 80, "host": "10.0.0.1"}}),
}


@pytest.mark.parametrize("word", FORBIDDEN)
def test_what_is_forbidden_is_found(word):
    pod = copy.deepcopy(GOOD)
    FORBIDDEN[word](pod)
    assert violations(pod) == [word]


def test_what_a_container_overrides_counts_and_every_kind_of_container_does():
    pod = copy.deepcopy(GOOD)
    pod["containers"][0]["securityContext"] |= {"runAsNonRoot": False, "seccompProfile": {"type": "Unconfined"}}
    assert violations(pod) == ["one: runAsNonRoot", "one: seccompProfile"]
    pod = copy.deepcopy(GOOD)
    pod["initContainers"], pod["ephemeralContainers"] = [{"name": "first"}], [{"name": "other"}]
    assert {word.partition(":")[0] for word in violations(pod)} == {"first", "other"}


def test_an_unconfined_profile_in_an_annotation_is_found():
    assert violations(GOOD, {"container.apparmor.security.beta.kubernetes.io/one": "unconfined"}) == ["AppArmor"]
