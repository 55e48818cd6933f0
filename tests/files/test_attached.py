"""Images and files for prompts: what is found, what is refused, and that no input reaches what it should not."""

import os
from base64 import b64encode
from pathlib import Path

import pytest

from agentbatch.errors import InputFault
from agentbatch.files.attached import Bounds, Kind, attach

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)
PDF = b"%PDF-1.7 " + bytes(50)


@pytest.fixture
def bounds(tmp_path: Path) -> Bounds:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.png").write_bytes(PNG)
    (root / "sub" / "b.pdf").write_bytes(PDF)
    (root / "key.txt").write_text("sk-secret")
    (tmp_path / "outside.png").write_bytes(PNG)
    return Bounds(root, 1000)


def refused(kind: Kind, named: str, bounds: Bounds) -> str:
    with pytest.raises(InputFault) as caught:
        attach(kind, named, bounds)
    return str(caught.value)


def test_a_file_is_known_by_its_content_and_read_when_it_is_wanted(bounds: Bounds):
    found = attach("image", "a.png", bounds)
    assert (found.kind, found.media_type, found.size, found.name, found.url) == (
        "image",
        "image/png",
        58,
        "a.png",
        None,
    )
    assert found.read() == PNG
    assert attach("file", "sub/b.pdf", bounds).media_type == "application/pdf"
    (bounds.root / "copy.png").write_bytes(PNG)
    assert attach("image", "copy.png", bounds).digest == found.digest


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF89a rest", "image/gif"),
        (b"GIF87a rest", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
    ],
)
def test_kinds_of_images(bounds: Bounds, content: bytes, media_type: str):
    (bounds.root / "x").write_bytes(content)
    assert attach("image", "x", bounds).media_type == media_type


@pytest.mark.parametrize("named", ["../outside.png", "sub/../../outside.png", "/etc/passwd", "~/x.png", "a.png\0"])
def test_nothing_outside_the_folder_can_be_named(bounds: Bounds, named: str):
    assert refused("image", named, bounds).startswith("image: ")


def test_an_absolute_path_may_lie_inside(bounds: Bounds):
    assert attach("image", str(bounds.root / "a.png"), bounds).name == "a.png"
    assert "set content_root" in refused("image", str(bounds.root.parent / "outside.png"), bounds)


def test_no_link_is_followed_and_no_pipe_is_waited_for(bounds: Bounds):
    (bounds.root / "link.png").symlink_to(bounds.root.parent / "outside.png")
    (bounds.root / "dir").symlink_to(bounds.root.parent)
    os.mkfifo(bounds.root / "pipe.png")
    assert "leads through a link" in refused("image", "link.png", bounds)
    assert "leads through a link" in refused("image", "dir/outside.png", bounds)
    assert "no regular file" in refused("image", "pipe.png", bounds)


def test_what_is_no_image_is_refused_whatever_it_is_called(bounds: Bounds):
    (bounds.root / "key.png").write_text("sk-secret")
    for kind, named in (("image", "key.txt"), ("image", "key.png"), ("file", "key.txt"), ("file", "a.png")):
        assert "by its content" in refused(kind, named, bounds)
    assert "sk-secret" not in refused("image", "key.png", bounds)


def test_what_is_missing_or_too_large_is_refused(bounds: Bounds):
    (bounds.root / "big.png").write_bytes(PNG + bytes(2_000_000))
    assert "there is no 'none.png'" in refused("image", "none.png", bounds)
    assert "has 2.0 MB, more than max_file_mb allows (0.001)" in refused("image", "big.png", bounds)
    assert "is a folder" in refused("image", "sub", bounds)


def test_a_file_that_changes_in_between_is_noticed(bounds: Bounds):
    found = attach("image", "a.png", bounds)
    (bounds.root / "a.png").write_bytes(PNG + b"more")
    with pytest.raises(InputFault, match="changed while"):
        found.read()
    (bounds.root / "a.png").unlink()
    with pytest.raises(InputFault, match="there is no"):
        found.read()


def test_urls_are_passed_on_and_data_uris_are_judged(bounds: Bounds):
    url = attach("image", "https://example.com/x/cat.webp?size=3", bounds)
    assert (url.url, url.media_type, url.name) == ("https://example.com/x/cat.webp?size=3", "image/webp", "cat.webp")
    assert url.read() == b""
    data = attach("image", "data:image/jpeg;base64," + b64encode(PNG).decode(), bounds)
    assert (data.media_type, data.read()) == ("image/png", PNG), "its bytes say what it is"
    assert "by its content" in refused("image", "data:image/png;base64,aGVsbG8=", bounds)
    assert "base64 is broken" in refused("image", "data:image/png;base64,a", bounds)
    assert "max_file_mb" in refused("image", "data:image/png;base64," + "A" * 5000, bounds)
    assert "expected a path, an https:// URL" in refused("image", "http://example.com/x.png", bounds)
    assert "expected a path" in refused("image", "file:///etc/passwd", bounds)
