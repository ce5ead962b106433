# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Where images come from: any dataset that `datasets` can stream, as rows of undecoded bytes in numbered chunks."""

import os
import stat
from collections import abc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import fsspec
import numpy as np
from datasets import Image, IterableDataset, Value

from .columns import SourceError, check_image_feature, check_mask_column, find_image_column, find_labels
from .decode import MAX_BYTES, BrokenImage, UnreadableFile
from .identity import fingerprint, last_written

EMBEDDED = "embedded"


@dataclass(slots=True)
class ImageRow:
    """One undecoded image.

    `id` is "chunk/row/name"; `data` the file's bytes, or None where they are read from `path`, which must lie below
    `root`. `mask` and `mask_path` are the same for the image's mask, both None where there is none.
    """

    id: str
    data: bytes | None
    path: str | None = None
    label: Any = None
    root: str = ""
    mask: bytes | None = None
    mask_path: str | None = None

    def read(self) -> bytes:
        """The image file's bytes; raises BrokenImage where there are none."""
        return _read(self.data, self.path, self.root)

    def read_mask(self) -> bytes:
        """The mask file's bytes; raises BrokenImage where there are none."""
        return _read(self.mask, self.mask_path, self.root)

    @property
    def size(self) -> int:
        """Bytes this row occupies in memory, roughly."""
        mask = len(self.mask) if self.mask is not None else 200 if self.mask_path else 0
        return mask + (len(self.data) if self.data is not None else 200)


def _read(data: bytes | None, path: str | None, root: str) -> bytes:
    if data is not None:
        return data
    if not path:
        raise BrokenImage("the row holds neither bytes nor a path")
    # A row of a shared dataset must not make this machine open files of its own choice.
    if not root or not os.path.abspath(path).startswith(root):
        raise BrokenImage(f"names {path!r}, which is not a file of this dataset")
    try:
        with open_file(path) as stream:
            if "://" not in path and not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise BrokenImage(f"{path!r} is not a regular file")
            return stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, PermissionError) as error:
        raise BrokenImage(f"cannot be read ({error.strerror or error})") from error
    except OSError as error:
        raise UnreadableFile(f"{path!r} cannot be read ({error.strerror or error})") from error


def open_file(path: str) -> Any:
    """A file of this machine or, with `://`, of another, to be read in a `with` statement."""
    return fsspec.open(path, "rb") if "://" in path else open(path, "rb")


@dataclass(slots=True)
class Chunk:
    """A piece of a source that is read in one go: a Parquet row group, a tar file, a file list."""

    index: int
    rows: int | None = None
    bytes: int | None = None


@dataclass
class ImageSource:
    """A split of a dataset as chunks of undecoded rows. Made by `open_source`.

    `fingerprint` holds the names and sizes of its files or, on the Hub, their commit, and stays when they are moved;
    `modified` when local files were last written.
    """

    name: str
    path: str
    config_name: str | None
    split: str
    revision: str | None
    image_column: str
    label_column: str | None
    mask_column: str | None
    label_names: list[str] | None
    is_local: bool
    fingerprint: str
    modified: str
    chunks: list[Chunk]
    _dataset: IterableDataset = field(repr=False)

    @property
    def num_rows(self) -> int | None:
        """Number of rows, or None where the source does not tell it without being read whole."""
        counts = [chunk.rows for chunk in self.chunks]
        return None if any(n is None for n in counts) else sum(n for n in counts if n is not None)

    def read_chunk(self, index: int) -> Iterator[ImageRow]:
        """Rows of one chunk in stored order."""
        return (row for row, _ in self.read_records(index))

    def read_records(self, index: int) -> Iterator[tuple[ImageRow, dict[str, Any]]]:
        """Rows of one chunk in stored order, each with all its columns; needs `open_source(..., all_columns=True)`."""
        part = self._dataset.shard(num_shards=len(self.chunks), index=index) if len(self.chunks) > 1 else self._dataset
        for number, record in enumerate(part):
            yield self._row(index, number, record), record

    def read_cell(self, record: dict[str, Any], column: str) -> bytes | None:
        """The image file in any column of a record, or None where the cell is empty or the record lacks it.

        Raises:
            BrokenImage: it is named by a path that cannot be read or lies outside of this dataset.
        """
        data, path = _bytes_and_path(record.get(column))
        return None if data is None and not path else _read(data, path, self._root)

    @property
    def features(self) -> datasets.Features:
        """The columns that are read, with their types."""
        return self._dataset.features

    def rows(self) -> Iterator[ImageRow]:
        """All rows in stored order."""
        for chunk in self.chunks:
            yield from self.read_chunk(chunk.index)

    def count_rows(self) -> int:
        """Number of rows, found by reading the chunks whose count is unknown (undecoded)."""
        for chunk in self.chunks:
            if chunk.rows is None:
                chunk.rows = sum(1 for _ in self.read_chunk(chunk.index))
        assert self.num_rows is not None
        return self.num_rows

    def memory_mapped(self) -> "MappedRows":
        """All rows with random access, through the Arrow copy that `datasets` keeps of a local source on disk."""
        return MappedRows(self)

    def labels(self) -> list[Any] | None:
        """The labels of all rows in stored order, read without the images; None where only whole rows can be read.

        Raises:
            SourceError: the dataset changed since it was opened.
        """
        if self.label_column is None or any(chunk.bytes is None for chunk in self.chunks):
            return None  # sizes come from the footers of Parquet files, which alone keep columns apart
        files = {self.split: self.path} if os.path.isfile(self.path) else None
        column = datasets.load_dataset(
            "parquet" if files else self.path,
            self.config_name,
            data_files=files,
            revision=self.revision,
            streaming=True,
            columns=[self.label_column],  # select_columns would drop the images after they were read
        )[self.split].with_format("arrow")
        labels = [label for part in column.iter(10_000) for label in part[self.label_column].to_pylist()]
        if len(labels) != self.num_rows:
            raise SourceError(
                f"dataset {self.name!r} changed while it was opened: {len(labels)} labels for {self.num_rows} rows"
            )
        return labels

    def _row(self, chunk: int, number: int, record: dict[str, Any]) -> ImageRow:
        data, path = _bytes_and_path(record.get(self.image_column))
        mask, mask_path = _bytes_and_path(record.get(self.mask_column)) if self.mask_column else (None, None)
        name = os.path.basename(str(record.get("__key__") or path or ""))
        label = record.get(self.label_column) if self.label_column else None
        return ImageRow(f"{chunk}/{number}/{name}".rstrip("/"), data, path, label, self._root, mask, mask_path)

    @property
    def _root(self) -> str:
        """What the path of a row without bytes must begin with."""
        if self.is_local:
            return os.path.abspath(self.path) + os.sep
        return f"{os.getcwd()}{os.sep}hf:{os.sep}datasets{os.sep}{self.path}"  # abspath of hf://datasets/org/name…


def _bytes_and_path(value: Any) -> tuple[bytes | None, str | None]:
    """What an undecoded image column holds in one row."""
    return (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)


class MappedRows(abc.Sequence[ImageRow]):
    """Rows of a local source by number, read from a memory-mapped Arrow file."""

    def __init__(self, source: ImageSource):
        self._source = source
        table = _load(source.path, source.name, source.config_name, source.split, source.revision, True, False)
        wanted = (source.image_column, source.label_column, source.mask_column, "__key__")
        table = table.select_columns([c for c in wanted if c in table.column_names])
        for column in (source.image_column, source.mask_column):
            if column is not None and not isinstance(table.features[column], Value):
                table = table.cast_column(column, Image(decode=False))
        self._table = table
        if len(table) != source.num_rows:
            raise SourceError(
                f"dataset {source.name!r} changed while it was opened: {len(table)} rows, not {source.num_rows}"
            )
        ends = np.cumsum([chunk.rows or 0 for chunk in source.chunks])
        self._starts = ends - [chunk.rows or 0 for chunk in source.chunks]

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> ImageRow:  # type: ignore[override]
        chunk = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._source._row(chunk, index - int(self._starts[chunk]), self._table[index])


def open_source(
    dataset_name: str,
    *,
    config_name: str | None = None,
    split: str = "train",
    image_column: str | None = None,
    label_column: str | None = None,
    mask_column: str | None = None,
    revision: str | None = None,
    all_columns: bool = False,
) -> ImageSource:
    """Opens one split of a dataset for streaming, without decoding a single image.

    Args:
        dataset_name: a Hub id (`ILSVRC/imagenet-1k`); a local folder of Parquet, webdataset tars or images in class
            folders; one Parquet or tar file; or `embedded`, the photographs inside scikit-image and scikit-learn.
        config_name, split, revision: as in `datasets.load_dataset`.
        image_column, label_column: found by feature type and usual names where not given; labels may be missing.
        mask_column: column of image files with a mask for each image; None: rows come without masks.
        all_columns: read the other columns, too, for `ImageSource.read_records`.

    Raises:
        SourceError: wrong path or id, no access, unknown split or column, or not one row.
    """
    shown = dataset_name
    if dataset_name == EMBEDDED:
        from .embedded import embedded_dataset

        dataset_name = str(embedded_dataset())
    is_local = os.path.exists(dataset_name)
    dataset = _load(dataset_name, shown, config_name, split, revision, is_local)
    if dataset.features is None:
        dataset = dataset._resolve_features()
    # First of all: of a Hub's image files `datasets` would otherwise decode every one in threads of its own.
    dataset = dataset.decode(False)
    features = dataset.features
    if mask_column is not None:
        check_mask_column(features, mask_column, shown)
    image_column = find_image_column(features, image_column, mask_column, shown)
    label_column, label_names = find_labels(features, label_column, shown)
    check_image_feature(features[image_column], image_column, shown)
    dataset = dataset.reshard()
    chunks, files = _describe_chunks(dataset)
    keep = [c for c in (image_column, label_column, mask_column, "__key__") if c and c in features]
    dataset = dataset if all_columns else dataset.select_columns(keep)
    source = ImageSource(
        name=shown,
        path=dataset_name,
        config_name=config_name,
        split=split,
        revision=revision or _commit_of(files),
        image_column=image_column,
        label_column=label_column,
        mask_column=mask_column,
        label_names=label_names,
        is_local=is_local,
        fingerprint=fingerprint(
            [config_name, split, revision, keep], dataset_name, files, [(c.rows, c.bytes) for c in chunks]
        ),
        modified=last_written(dataset_name, files),
        chunks=chunks,
        _dataset=dataset,
    )
    if source.num_rows == 0 or (source.num_rows is None and next(source.rows(), None) is None):
        raise SourceError(f"dataset {shown!r}, split {split!r}, holds not one row")
    return source


def _load(
    name: str,
    shown: str,
    config: str | None,
    split: str,
    revision: str | None,
    is_local: bool,
    streaming: bool = True,
) -> Any:
    if not is_local and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise SourceError(f"there is no file or folder {shown!r}, and it is not of the form of a Hub id (org/name)")
    kind, files = name, None
    if os.path.isfile(name):
        suffix = Path(name).suffix
        kind = {".parquet": "parquet", ".tar": "webdataset"}.get(suffix, "")
        if not kind:
            raise SourceError(f"{shown!r}: a single file must be .parquet or .tar, not {suffix or 'without suffix'!r}")
        files = {split: name}
    try:
        splits = datasets.load_dataset(kind, config, data_files=files, revision=revision, streaming=streaming)
    except Exception as error:  # datasets raises a dozen types here; each is said again with the value and a remedy
        raise SourceError(_why_not(shown, is_local, error)) from error
    if split not in splits:
        raise SourceError(f"dataset {shown!r} has no split {split!r}; it has {sorted(splits)}")
    return splits[split]


def _why_not(name: str, is_local: bool, error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    if "gated" in text.lower() or "401" in text or "403" in text:
        return f"dataset {name!r} is gated or private: accept its terms on the Hub, then run `hf auth login` ({text})"
    if is_local and isinstance(error, FileNotFoundError | datasets.exceptions.DatasetNotFoundError):
        return f"folder {name!r} holds no images, Parquet or webdataset files ({text})"
    if isinstance(error, datasets.exceptions.DatasetNotFoundError | FileNotFoundError):
        return f"there is no folder {name!r} here and no such dataset on the Hub, or no access to it ({text})"
    return f"dataset {name!r} cannot be opened ({text})"


def _describe_chunks(dataset: IterableDataset) -> tuple[list[Chunk], list[str]]:
    """Chunks of a resharded dataset with row counts and sizes where file footers tell them, and its files.

    `datasets` keeps the file behind each shard in a private place; where that is not as expected the chunks are
    described without counts, which costs one read of a local source and nothing else.
    """
    kwargs = getattr(getattr(dataset, "_ex_iterable", None), "kwargs", None) or {}
    files = [str(f) for f in kwargs.get("files") or kwargs.get("tar_paths") or []]
    groups = kwargs.get("row_groups_list")
    count = dataset.num_shards
    if not files or groups is None or len(groups) != count or len(files) != count or not files[0].endswith(".parquet"):
        return [Chunk(i) for i in range(count)], files

    def footer(path: str) -> tuple[str, Any]:
        import pyarrow.parquet as pq

        with fsspec.open(path, "rb") as stream:
            return path, pq.read_metadata(stream)

    with ThreadPoolExecutor(16) as pool:
        footers = dict(pool.map(footer, sorted(set(files))))
    chunks = []
    for index, (path, wanted) in enumerate(zip(files, groups, strict=True)):
        metadata = footers[path]
        numbers = range(metadata.num_row_groups) if wanted is None else wanted
        parts = [metadata.row_group(n) for n in numbers]
        chunks.append(Chunk(index, sum(p.num_rows for p in parts), sum(p.total_byte_size for p in parts)))
    return chunks, files


def _commit_of(files: list[str]) -> str | None:
    """The commit in `hf://datasets/org/name@<commit>/...`, by which the Hub's files are pinned."""
    first = files[0] if files else ""
    return first.split("@", 1)[1].split("/", 1)[0] if first.startswith("hf://") and "@" in first else None
