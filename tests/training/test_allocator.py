import platform

from lidr.training.allocator import keep_freed_memory


def test_glibc_takes_the_settings() -> None:
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")


def test_other_systems_are_left_alone(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.platform", "darwin")
    assert keep_freed_memory() is False
