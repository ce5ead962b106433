# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Which images of train a protocol trains on, and the validation split in the same classes."""

from __future__ import annotations

from dataclasses import dataclass

from ..features import number_labels
from ..scores import classes_of, match_test_labels
from ..subset import balanced_share, find_listed, read_list
from ..task import Task
from .images import Pool, read_labels
from .settings import TuningSettings


@dataclass
class TrainingSet:
    """The images that may be trained on, the K names of their classes, and in words which part of train they are."""

    pool: Pool
    names: list[str]
    subset: str


def read_training_set(settings: TuningSettings, task: Task) -> TrainingSet:
    """Reads the labels of train, and takes the part of it that the protocol trains on.

    Classes are those of all of train, whatever part is taken.

    Raises:
        ValueError: labels that cannot be used, a list that does not fit the images, or one that is of another set
            where no share is given instead.
    """
    train = task.train
    where = f"{train.name}, {train.split}"
    column = read_labels(train, task.options.max_train_images, task.seed, names=settings.subset_list is not None)
    number_N, label_names = number_labels(column.labels, train.label_names)
    class_N, names = classes_of(number_N, label_names, where)
    class_of = dict(zip(column.labels, class_N.tolist(), strict=True))
    pool = Pool(train, column.rows, column.place_N, class_N, class_of, task.options.max_train_images is None)
    if settings.subset_list is not None and settings.subset_classes in (None, len(names)):
        listed = read_list(settings.subset_list, settings.subset_sha256, task.options.cache_dir)
        pool = pool.pick(find_listed(column.names, listed, settings.subset_list))
        return TrainingSet(pool, names, f"the {len(pool)} images of {settings.subset_list}")
    if settings.subset_share is not None:
        pool = pool.pick(balanced_share(class_N, settings.subset_share, task.seed))
        words = f"{len(pool)} images drawn with seed {task.seed}, equally many of each class"
        return TrainingSet(pool, names, f"{100 * settings.subset_share:g} %: {words}")
    if settings.subset_list is not None:
        raise ValueError(
            f"{where} has {len(names)} classes, the list {settings.subset_list!r} is of a set with "
            f"{settings.subset_classes}; give subset_share to draw a class-balanced share instead"
        )
    return TrainingSet(pool, names, "all")


def read_validation(task: Task, training: TrainingSet) -> Pool:
    """The validation split in the classes of train; an image of a class that train lacks has the class -1.

    Raises:
        ValueError: labels that cannot be used, or no class in common with train.
    """
    source = task.validation
    assert source is not None
    column = read_labels(source, task.options.max_train_images, task.seed)
    number_N, label_names = number_labels(column.labels, source.label_names)
    where = f"{source.name}, {source.split}"
    labels = match_test_labels(training.pool.class_N, training.names, number_N, label_names, where)
    class_of = dict(zip(column.labels, labels.test_M.tolist(), strict=True))
    return Pool(source, column.rows, column.place_N, labels.test_M, class_of, task.options.max_train_images is None)
