"""The restricted Pod Security Standard, control by control.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/, of Kubernetes 1.34 and later.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_CAPABILITIES: Final = {"NET_BIND_SERVICE"}
_PROFILES: Final = {"RuntimeDefault", "Localhost"}
_SELINUX_TYPES: Final = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SYSCTLS: Final = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
_VOLUMES: Final = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_HANDLERS: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"


def violations(spec: Mapping[str, Any], annotations: Mapping[str, str] | None = None) -> list[str]:
    """What the standard forbids in a pod, a word each; empty where nothing is.

    Args:
        spec: of the pod.
        annotations: of the pod.
    """
    found = [*_of_pod(spec, annotations or {})]
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(group, ()):
            found += (f"{container['name']}: {word}" for word in _of_container(container, spec))
    return found


def _of_pod(spec: Mapping[str, Any], annotations: Mapping[str, str]) -> Iterator[str]:
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    for volume in spec.get("volumes", ()):
        yield from (f"volume {kind}" for kind in set(volume) - {"name"} - _VOLUMES)
    context = spec.get("securityContext", {})
    yield from (f"sysctl {one['name']}" for one in context.get("sysctls", ()) if one["name"] not in _SYSCTLS)
    for name, value in annotations.items():
        if name.startswith(_APPARMOR) and value != "runtime/default" and not value.startswith("localhost/"):
            yield "AppArmor"
    yield from _of_context(context)


def _of_container(container: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    own, of_pod = container.get("securityContext", {}), spec.get("securityContext", {})
    yield from _of_context(own)
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()) or set(capabilities.get("add", ())) - _CAPABILITIES:
        yield "capabilities"
    if own.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot"
    if own.get("seccompProfile", of_pod.get("seccompProfile", {})).get("type") not in _PROFILES:
        yield "seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "hostPort"
    yield from ("host" for handler in _handlers(container) if handler.get("host"))


def _of_context(context: Mapping[str, Any]) -> Iterator[str]:
    """What is forbidden alike in a pod's context and in a container's."""
    if context.get("runAsUser") == 0:
        yield "runAsUser"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield "hostProcess"
    if context.get("appArmorProfile", {"type": "RuntimeDefault"})["type"] not in _PROFILES:
        yield "AppArmor"
    options = context.get("seLinuxOptions", {})
    if options.get("type", "") not in _SELINUX_TYPES or options.get("user") or options.get("role"):
        yield "seLinuxOptions"


def _handlers(container: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    hooks = [container.get(name, {}) for name in _HANDLERS] + list(container.get("lifecycle", {}).values())
    return (hook[kind] for hook in hooks for kind in ("httpGet", "tcpSocket") if kind in hook)
