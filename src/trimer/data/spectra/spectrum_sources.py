"""Sources of labelled spectra: files of the user, and public libraries.

Every source has `fingerprint()`, which changes if and only if its records change, and `chunks()`, which yields
SpectrumTables. The simulated sources in `trimer.simulate.simulated_spectra` have the same methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from trimer.data.spectra.readers import read_spectra, spectrum_files
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.data.text.content import content_digest
from trimer.data.text.paths import DownloadedFile, NamedFiles, find_files, named_paths

WANTED = "a file of spectra, a folder of them"


class SpectralFiles(NamedFiles):
    """Spectra in files: MGF, MSP, mzML, mzXML, GNPS JSON, MassSpecGym TSV or MassBank records.

    paths: files, folders, or globs, read as one library.
    """

    def __init__(self, paths: str | Sequence[str]):
        self.paths = named_paths(paths, WANTED)

    def files(self) -> list[Path]:
        """The files and folders that the paths name, sorted within each glob."""
        return find_files(self.paths, WANTED, folders=True)

    def fingerprint(self) -> str:
        return content_digest([file for path in self.files() for file in spectrum_files(path)])

    def chunks(self) -> Iterator[SpectrumTable]:
        """One table with all spectra, so that duplicates across files are recognised."""
        yield SpectrumTable.concatenate([read_spectra(file) for file in self.files()])


class PublishedLibrary(DownloadedFile, SpectralFiles):
    """A public library, downloaded once into `folder`.

    url: address of the file. path: an existing copy to read instead of the download. sha256: checksum of the file; null
    skips the verification and logs the checksum.
    """

    def __init__(self, url: str, folder: str, path: str | None = None, sha256: str | None = None):
        super().__init__(path or str(Path(folder) / Path(url).name))
        self.url, self.folder, self.path, self.sha256 = url, folder, path, sha256
