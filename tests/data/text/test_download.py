import hashlib
import http.server
import logging
import threading
from functools import partial

import pytest

from trimer.data.molecules.molecule_files import PubChemSmiles
from trimer.data.text.download import download
from trimer.errors import InputError

CONTENT = b"1\tCCO\n2\tC\n" * 1000


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.requests += 1

    def do_GET(self):
        if self.path != "/short.smi":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:500])  # the connection breaks here
        self.log_message()


@pytest.fixture
def server(tmp_path):
    public = tmp_path / "public"
    public.mkdir()
    (public / "molecules.smi").write_bytes(CONTENT)
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(public)))
    running.requests = 0
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def address(server, name: str = "molecules.smi") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{name}"


def test_a_file_is_downloaded_once_and_verified(server, tmp_path):
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = download(address(server), tmp_path / "data", sha256=digest)
    assert path == tmp_path / "data" / "molecules.smi"
    assert path.read_bytes() == CONTENT
    requests = server.requests
    assert download(address(server), tmp_path / "data", sha256=digest) == path
    assert server.requests == requests


def test_without_a_checksum_the_digest_is_logged(server, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        download(address(server), tmp_path / "data")
    assert hashlib.sha256(CONTENT).hexdigest() in caplog.text


def test_a_different_checksum_raises(server, tmp_path):
    with pytest.raises(InputError, match="sha256 of the download is not"):
        download(address(server), tmp_path / "data", sha256="0" * 64)
    assert not (tmp_path / "data" / "molecules.smi").exists()


def test_http_errors_and_short_files_raise(server, tmp_path):
    with pytest.raises(InputError, match="HTTP status 404"):
        download(address(server, "none.smi"), tmp_path / "data")
    with pytest.raises(InputError, match="could not be downloaded"):
        download(address(server, "short.smi"), tmp_path / "data")
    assert not any(path.is_file() and path.stat().st_size for path in (tmp_path / "data").iterdir())


def test_no_connection_raises(server, tmp_path):
    url = address(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match="connect to the network, or put the file there by hand"):
        download(url, tmp_path / "data")


def test_pubchem_is_downloaded_from_its_url(server, tmp_path):
    source = PubChemSmiles(folder=str(tmp_path / "data"), url=address(server), limit=3)
    (table,) = source.chunks()
    assert table.ids == ["1", "2", "1"]
    assert table.smiles == ["CCO", "C", "CCO"]
