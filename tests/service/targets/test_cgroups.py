"""The container of a process is told by the path of its cgroup, and by nothing that forges one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek.kernel import names
from farpeek.targets import cgroups

ID = "3f2a" * 16
OTHER_ID = "0123456789abcdef" * 4
TASK = "0123456789abcdef" * 2
GARDEN = "6f265890-5165-7fab-6b52-18d1"


@pytest.mark.parametrize(
    ("text", "cgroup", "container"),
    [
        ("0::/\n", "/", None),
        (f"0::/system.slice/docker-{ID}.scope\n", f"/system.slice/docker-{ID}.scope", ID),
        (f"0::/kubepods/burstable/pod1/{ID}\n", f"/kubepods/burstable/pod1/{ID}", ID),
        (f"0::/a.slice/cri-containerd-{ID}.scope\n", f"/a.slice/cri-containerd-{ID}.scope", ID),
        (f"0::/a.slice/crio-{ID}.scope/container\n", f"/a.slice/crio-{ID}.scope/container", ID),
        (
            f"0::/libpod-{ID}.scope/libpod-{OTHER_ID}\n",
            f"/libpod-{ID}.scope/libpod-{OTHER_ID}",
            OTHER_ID,
        ),
        (f"0::/docker/{ID[1:]}\n", f"/docker/{ID[1:]}", None),
        (f"0::/docker/a{ID}\n", f"/docker/a{ID}", None),
        # The first version's hierarchies beside an unused second one.
        (f"9:name=systemd:/\n4:memory:/docker/{ID}\n0::/\n", f"/docker/{ID}", ID),
        ("9:name=systemd:/user.slice\n4:memory:/\n", "/user.slice", None),
        ("9:name=systemd:/\n0::/with:colon\n", "/with:colon", None),
        ("", None, None),
        (
            f"0::/ecs/{TASK}/{TASK}-265927825\n",
            f"/ecs/{TASK}/{TASK}-265927825",
            f"{TASK}-265927825",
        ),
        (f"4:cpu:/ecs/{TASK}/{ID}\n", f"/ecs/{TASK}/{ID}", ID),
        (f"4:cpu:/garden/{GARDEN}\n", f"/garden/{GARDEN}", GARDEN),
        (f"0::/{GARDEN}-18d1\n", f"/{GARDEN}-18d1", None),
        ("4:cpu:/lxc/web\n", "/lxc/web", "web"),
        ("0::/lxc.payload.web-1/init.scope\n", "/lxc.payload.web-1/init.scope", "web-1"),
        ("0::/lxc.payload/web/a.slice\n", "/lxc.payload/web/a.slice", "web"),
        ("0::/lxc.monitor.web\n", "/lxc.monitor.web", None),
        (f"0::/lxc/web/docker/{ID}\n", f"/lxc/web/docker/{ID}", ID),
        (
            "0::/machine.slice/systemd-nspawn@web.service/payload/init.scope\n",
            "/machine.slice/systemd-nspawn@web.service/payload/init.scope",
            "web",
        ),
        (
            "0::/machine.slice/machine-web\\x2d1.scope\n",
            "/machine.slice/machine-web\\x5cx2d1.scope",
            "web-1",
        ),
        (
            "0::/machine.slice/machine-qemu\\x2d1\\x2dweb.scope\n",
            "/machine.slice/machine-qemu\\x5cx2d1\\x5cx2dweb.scope",
            None,
        ),
        # Separators of lines to some, characters of a name to the kernel.
        (f"0::/a\x0b0::/docker-{ID}.scope\x0bb\n", f"/a\x0b0::/docker-{ID}.scope\x0bb", ID),
        (f"0::/a\x85{ID[1:]}\r1:x:/b\n", f"/a\x85{ID[1:]}\r1:x:/b", None),
    ],
)
def test_a_container_is_told_by_the_path_of_its_cgroup(
    text: str, cgroup: str | None, container: str | None
) -> None:
    assert cgroups.parse(text.encode()) == (cgroup, container)


@given(st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 10} & set(name)))
def test_no_name_of_a_group_changes_which_line_is_whose(name: bytes) -> None:
    content = b"9:cpu:/other\n0::/%b\n" % name
    assert cgroups.parse(content)[0] == names.shown(b"/" + name) or name == b"/"
