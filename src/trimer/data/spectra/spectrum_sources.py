"""Where labelled spectra come from: files of the user, and the public libraries by name.

Every source has `fingerprint()`, which changes when and only when its records change, and `chunks()`, which yields
SpectrumTables. The simulated sources in `trimer.simulate.simulated_spectra` have the same two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from trimer.data.spectra.readers import read_spectra, spectrum_files
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.data.text.content import content_digest
from trimer.data.text.paths import find_files, named_paths

WANTED = "a file of spectra, a folder of them"


class SpectralFiles:
    """Any spectral library: MGF, MSP, mzML, mzXML, GNPS JSON, MassSpecGym TSV or MassBank records.

    paths: files, folders, or globs; all are read as one library.
    """

    def __init__(self, paths: str | Sequence[str]):
        self.paths = named_paths(paths, WANTED)

    def files(self) -> list[Path]:
        """The files and folders that the paths name, sorted within each glob."""
        return find_files(self.paths, WANTED, folders=True)

    def fingerprint(self) -> str:
        return content_digest(self._contents())

    def chunks(self) -> Iterator[SpectrumTable]:
        """One table with all spectra, so that duplicates are found across files."""
        yield SpectrumTable.concatenate([read_spectra(file) for file in self.files()])

    def _contents(self) -> list[Path]:
        return [file for path in self.files() for file in spectrum_files(path)]


class PublishedLibrary(SpectralFiles):
    """A library at its publisher's address: downloaded once with a progress bar into `folder`, then read like any file.

    path: a copy that is already there, instead of the download. url: the publisher's address.
    sha256: the checksum, where the publisher states one; null downloads without a check and says so.
    """

    def __init__(self, url: str, folder: str, path: str | None = None, sha256: str | None = None):
        super().__init__(path or str(Path(folder) / Path(url).name))
        self.url = url
        self.folder = folder
        self.sha256 = sha256
        self.path = path

    def files(self) -> list[Path]:
        if self.path is None:
            from trimer.data.text.download import download

            self.paths = [str(download(self.url, Path(self.folder), sha256=self.sha256))]
        return super().files()
