# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Masks beside images: found in a column, decoded whatever the file, laid over their image on the canvas."""

import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image
from tiny_images import encoded

from mscn_hf.data import (
    BrokenImage,
    CanvasCollate,
    ExactLoader,
    ImageRow,
    Sample,
    Share,
    SourceError,
    open_order,
    open_source,
)
from mscn_hf.data.decode import decode_mask, upright_size
from mscn_hf.views import ViewCollator, ViewRecipe, ViewSpec


def saved(image: Image.Image, fmt: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


def left_part(size: tuple[int, int], columns: int, value: int = 255) -> Image.Image:
    """A grey mask whose first columns are foreground."""
    mask = Image.new("L", size)
    mask.paste(value, (0, 0, columns, size[1]))
    return mask


def row(image: bytes, mask: bytes | None, name: str = "a") -> Sample:
    return Sample(ImageRow(name, image, mask=mask), 0, 0)


@pytest.fixture
def masked_folder(tmp_path):
    """A Parquet folder of `rows` 12x8 images whose masks have their first `number` columns in the foreground."""

    def make(rows: int = 10, image: str = "image", mask: str = "saliency") -> str:
        folder = tmp_path / f"{image}-{mask}"
        folder.mkdir()
        records = [
            {
                image: {"bytes": encoded(n, "PNG"), "path": f"{n}.png"},
                "label": n % 2,
                mask: {"bytes": saved(left_part((12, 8), n)), "path": f"{n}.png"},
            }
            for n in range(rows)
        ]
        features = Features({mask: ImageFeature(), image: ImageFeature(), "label": Value("int64")})
        Dataset.from_list(records, features=features).to_parquet(str(folder / "train.parquet"), batch_size=4)
        return str(folder)

    return make


def test_a_mask_column_comes_with_every_row(masked_folder):
    folder = masked_folder()
    source = open_source(folder, mask_column="saliency")
    assert (source.image_column, source.mask_column, source.num_rows) == ("image", "saliency", 10)
    for rows in (list(source.rows()), list(source.memory_mapped())):
        for number, found in enumerate(rows):
            assert decode_mask(found.read_mask()).sum() == 255 * 8 * number
            assert found.read() == encoded(number, "PNG")
            assert found.size == len(found.read()) + len(found.read_mask())
    without = open_source(folder)
    assert without.mask_column is None and without.image_column == "image"
    plain = next(without.rows())
    assert plain.size == len(plain.read())
    with pytest.raises(BrokenImage, match="neither bytes nor a path"):
        plain.read_mask()


def test_the_fingerprint_tells_masks_apart(masked_folder):
    folder = masked_folder()
    one, other = open_source(folder).fingerprint, open_source(folder, mask_column="saliency").fingerprint
    assert one != other
    assert other == open_source(folder, mask_column="saliency").fingerprint


def test_the_other_image_column_is_the_image(masked_folder):
    folder = masked_folder(image="photo", mask="jpg")
    assert open_source(folder, mask_column="jpg").image_column == "photo"
    assert open_source(folder, mask_column="photo").image_column == "jpg"
    assert open_source(folder).image_column == "jpg", "by its usual name"


def test_a_wrong_mask_column_is_refused(masked_folder):
    folder = masked_folder()
    with pytest.raises(
        SourceError, match=r"no column 'salience' for masks; its columns are \['image', 'label', 'sali"
    ):
        open_source(folder, mask_column="salience")
    with pytest.raises(SourceError, match="did you mean 'saliency'"):
        open_source(folder, mask_column="salience")
    with pytest.raises(SourceError, match="did you mean 'centered_rectangle'"):
        open_source(folder, mask_column="centred_rectangle")
    with pytest.raises(SourceError, match="column 'label' holds no images but Value"):
        open_source(folder, mask_column="label")
    with pytest.raises(SourceError, match="column 'image' cannot hold both the images and their masks"):
        open_source(folder, image_column="image", mask_column="image")


def test_a_mask_cannot_be_a_file_outside_of_its_dataset(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(saved(left_part((12, 8), 3)))
    (tmp_path / "set").mkdir()
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images = pa.array([{"bytes": encoded(1), "path": "1.jpg"}] * 3, kind)
    paths = [{"bytes": None, "path": path} for path in (str(secret), "/dev/zero", "../secret.png")]
    pq.write_table(pa.table({"image": images, "mask": pa.array(paths, kind)}), tmp_path / "set" / "a.parquet")
    for found in open_source(str(tmp_path / "set"), image_column="image", mask_column="mask").rows():
        assert found.read() == encoded(1)
        with pytest.raises(BrokenImage, match="is not a file of this dataset"):
            found.read_mask()


@pytest.fixture
def masked_image_folder(tmp_path):
    """Image files and mask files that a metadata.csv names."""
    folder = tmp_path / "photos" / "train"
    (folder / "masks").mkdir(parents=True)
    lines = ["file_name,saliency_file_name"]
    for number in range(6):
        (folder / f"{number}.png").write_bytes(encoded(number, "PNG"))
        (folder / "masks" / f"{number}.png").write_bytes(saved(left_part((12, 8), 2 * number)))
        lines.append(f"{number}.png,masks/{number}.png")
    (folder / "metadata.csv").write_text("\n".join(lines))
    return str(tmp_path / "photos")


@pytest.mark.parametrize("mapped", [False, True])
def test_an_image_folder_names_its_masks_by_path(masked_image_folder, mapped):
    source = open_source(masked_image_folder, mask_column="saliency")
    order = open_order(source, Share(0, 0, 1, 6), window_bytes=100 if mapped else 2**30)
    samples = list(order.samples(0))
    assert all(s.row.mask is None and s.row.mask_path and s.row.size == 400 for s in samples)
    batch = CanvasCollate(12, with_masks=True)(samples)
    assert not batch["broken"] and not batch["broken_masks"]
    for slot, shown in enumerate(batch["canvas"][:, 0, 0, 0].tolist()):  # the image's colour tells its number
        assert batch["foreground_share"][slot] == pytest.approx(shown / 6)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_bring_masks_to_the_views(masked_folder, workers):
    order = open_order(open_source(masked_folder(8), mask_column="saliency"), Share(1, 0, 1, 4))
    recipe = ViewRecipe({"a": ViewSpec(size=8, background_p=1.0)}, mask_source="saliency")
    collator = ViewCollator(recipe, 0, CanvasCollate(12, with_masks=recipe.mask_column is not None))
    shares = {}
    for batch in ExactLoader(order, collator, 4, num_workers=workers):
        assert batch["foreground"].shape == (4, 1, 12, 12)
        assert collator.make_views(batch)[0].shape == (4, 3, 8, 8)
        shares |= dict(zip(batch["canvas"][:, 0, 0, 0].tolist(), batch["foreground_share"].tolist(), strict=True))
    assert shares == {n: pytest.approx(n / 12) for n in range(8)}
    assert collator.unmasked == 1  # the empty mask


def test_masks_are_read_only_when_asked(masked_folder):
    samples = list(open_order(open_source(masked_folder(4), mask_column="saliency"), Share(0)).samples(0))
    assert not {"foreground", "foreground_share", "broken_masks"} & set(CanvasCollate(12)(samples))


def test_a_mask_of_another_size_is_laid_over_its_image():
    image = saved(Image.new("RGB", (400, 300), "red"))
    for size, columns in (((400, 300), 100), ((800, 600), 200), ((40, 30), 10), ((41, 31), 10), ((1603, 1200), 401)):
        batch = CanvasCollate(40, with_masks=True)([row(image, saved(left_part(size, columns)))])
        assert batch["broken_masks"] == [] and batch["valid_hw"].tolist() == [[30, 40]]
        foreground = batch["foreground"][0, 0]
        assert (foreground[:30, :10] >= 250).all() and not (foreground[:, 11:] > 5).any()
        assert not foreground[30:].any(), "beside the image"
        assert batch["foreground_share"].tolist() == pytest.approx([0.25], abs=1e-6)
    small = saved(Image.new("RGB", (12, 8)))  # smaller than the canvas: left alone, and so is its mask
    batch = CanvasCollate(40, with_masks=True)([row(small, saved(left_part((24, 16), 6)))])
    assert (batch["foreground"][0, 0, :8, :3] == 255).all() and batch["foreground_share"].item() == 0.25


def test_a_tiny_mask_may_be_off_by_its_rounding():
    image = saved(Image.new("RGB", (400, 300)))
    for size, fits in (((9, 7), True), ((9, 6), False), ((13, 10), True), ((13, 11), False)):
        batch = CanvasCollate(40, with_masks=True)([row(image, saved(Image.new("L", size, 255)))])
        assert (batch["broken_masks"] == []) == fits, size


def test_shrinking_takes_the_mean_of_the_mask():
    fine = np.zeros((60, 80), np.uint8)  # in each block of 4x4 pixels 3/4 are foreground on the left, 1/4 on the right
    fine[:, :40] = np.where(np.arange(60) % 4 == 1, 0, 255)[:, None]
    fine[:, 40:] = np.where(np.arange(40) % 4 == 1, 255, 0)
    batch = CanvasCollate(20, with_masks=True)([row(saved(Image.new("RGB", (80, 60))), saved(Image.fromarray(fine)))])
    foreground = batch["foreground"][0, 0, :15].int()
    assert (foreground[:, :10] - 191).abs().max() <= 1 and (foreground[:, 10:] - 64).abs().max() <= 1
    assert batch["foreground_share"].item() == 0.5


@pytest.mark.parametrize("size", [(3000, 1), (1, 3000)])
def test_extreme_images_have_masks_too(size):
    image = saved(Image.new("RGB", size))
    for mask_size in (size, (max(1, size[0] // 10), max(1, size[1] // 10)), tuple(min(s, 20) for s in size)):
        batch = CanvasCollate(20, with_masks=True)([row(image, saved(Image.new("L", mask_size, 255)))])
        assert batch["broken_masks"] == [] and batch["foreground_share"].tolist() == [1.0]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_mask_fits_the_image_as_it_is_shown(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = saved(Image.new("RGB", (400, 200), "blue"), "JPEG", exif=exif)
    shown = (400, 200) if orientation in (1, 3) else (200, 400)
    assert upright_size(image) == shown[::-1]
    for canvas in (40, 1000):  # shrunk and not
        collate = CanvasCollate(canvas, with_masks=True)
        batch = collate([row(image, saved(left_part(shown, shown[0] // 2)))])
        assert batch["broken_masks"] == []
        height, width = batch["valid_hw"][0].tolist()
        assert (width > height) == (orientation in (1, 3))
        assert (batch["foreground"][0, 0, :height, : width // 2] == 255).all()
        assert batch["foreground_share"].item() == 0.5
        assert len(collate([row(image, saved(left_part(shown[::-1], 10)))])["broken_masks"]) == 1, (
            "not as it is stored"
        )


def test_a_mask_has_an_orientation_of_its_own():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise: what was at the bottom is on the left
    mask = Image.new("L", (40, 20))
    mask.paste(255, (0, 10, 40, 20))
    assert (decode_mask(saved(mask, exif=exif))[:, :10] == 255).all()


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (None, "the row holds neither bytes nor a path"),
        (b"", "the file is empty"),
        (b"no image", "cannot be decoded"),
        (saved(left_part((400, 300), 9))[:-30], "cannot be decoded"),
        (
            saved(left_part((400, 290), 9)),
            "the mask of 400x290 pixels does not have the proportions of its image, 400x300",
        ),
        (
            saved(left_part((300, 400), 9)),
            "the mask of 300x400 pixels does not have the proportions of its image, 400x300",
        ),
        (saved(left_part((4000, 3000), 9)), "4000x3000 pixels, more than the limit of 1000000"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else None,
)
def test_a_broken_mask_is_named_and_removes_nothing(mask, reason):
    image = saved(Image.new("RGB", (400, 300), "red"))
    good = row(image, saved(left_part((400, 300), 100)), "good")
    batch = CanvasCollate(40, max_pixels=1_000_000, with_masks=True)([row(image, mask, "bad"), good])
    ((name, said),) = batch["broken_masks"]
    assert name == "bad" and reason in said
    assert batch["broken"] == [] and (batch["canvas"][:, 0, :30, :40] == 255).all()
    assert (batch["foreground"][0, 0, :30] == 255).all() and not batch["foreground"][:, :, 30:].any()
    assert batch["foreground_share"][0].isnan() and batch["foreground_share"][1] == 0.25
    for change in (None, "bounding_box", "add_rectangle", "remove_rectangle"):
        recipe = {"views": {"a": {"size": 16, "background_p": 1.0}}, "mask_source": "saliency", "mask_change": change}
        collator = ViewCollator(ViewRecipe.from_dict(recipe | {"foreground_threshold": 0.0}), 0)
        steps = dict(collator.trace(batch, "a"))
        assert torch.equal(steps["background"][0], steps["crop"][0])
        assert not torch.equal(steps["background"][1], steps["crop"][1])
        collator.make_views(batch)
        assert collator.unmasked == 0


def test_a_stand_in_brings_its_own_mask():
    image, mask = saved(Image.new("RGB", (400, 300), "red")), saved(left_part((400, 300), 100))
    batch = CanvasCollate(40, with_masks=True)([row(b"no image", saved(left_part((400, 300), 300))), row(image, mask)])
    assert len(batch["broken"]) == 1 and batch["broken_masks"] == []
    assert batch["foreground_share"].tolist() == [0.25, 0.25]
    assert (batch["foreground"][0] == batch["foreground"][1]).all() and batch["foreground"].any()
    lost = CanvasCollate(40, with_masks=True)([row(b"no image", mask)])
    assert len(lost["broken"]) == 1 and lost["foreground_share"].isnan().all()


def test_a_stand_in_brings_its_own_label():
    good = saved(Image.new("RGB", (8, 8), "red"))
    samples = [
        Sample(ImageRow(f"0/{number}", data, None, label), number, 0)
        for number, (data, label) in enumerate([(b"no image", 1), (good, 2), (b"no image", 3)])
    ]
    batch = CanvasCollate(8)(samples)
    assert batch["labels"].tolist() == [2, 2, 2]
    assert [name for name, _ in batch["broken"]] == ["0/0", "0/2"]


def half(mode: str, low, high) -> Image.Image:
    if mode == "I;16":  # PIL's paste writes its low byte only
        return Image.fromarray(np.repeat(np.array([[high, low]], np.uint16), 4, 1).repeat(4, 0))
    image = Image.new(mode, (8, 4), low)
    image.paste(high, (0, 0, 4, 4))
    return image


def transparent() -> Image.Image:
    image = Image.new("RGBA", (8, 4), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (0, 0, 4, 4))
    return image


@pytest.mark.parametrize(
    ("data", "high"),
    [
        (saved(half("1", 0, 1)), 255),
        (saved(half("L", 0, 255)), 255),
        (saved(half("L", 0, 200)), 200),
        (saved(half("L", 0, 1)), 255),  # a label map: 0 and 1
        (saved(half("L", 0, 2)), 2),
        (saved(half("RGB", "black", "white")), 255),
        (saved(half("P", 0, 1)), None),
        (saved(half("LA", (0, 255), (200, 255))), 200),
        (saved(transparent()), 255),
        (saved(half("I;16", 0, 0xFFFF)), 255),
        (saved(half("I;16", 0, 0x8000)), 128),
        (saved(half("I;16", 0, 200)), 200),
        (saved(half("I;16", 0, 1)), 255),
        (saved(half("F", 0.0, 0.6), "TIFF"), 153),
        (saved(half("F", 0.0, 1.0), "TIFF"), 255),
        (saved(half("F", float("nan"), 180.0), "TIFF"), 180),
        (saved(half("L", 0, 255), "JPEG", quality=100), 255),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else None,
)
def test_every_kind_of_mask_file_becomes_grey(data, high):
    mask = decode_mask(data)
    assert mask.shape == (4, 8) and mask.dtype == np.uint8
    if high is None:  # a palette: the luma of its colours
        palette = Image.open(io.BytesIO(data)).convert("L")
        high = palette.getpixel((0, 0))
    assert np.abs(mask[:, :3].astype(int) - high).max() <= 1 and mask[:, 5:].max() <= 1


def test_empty_masks_stay_empty():
    assert not decode_mask(saved(Image.new("L", (8, 4)))).any()
    assert not decode_mask(saved(Image.new("F", (8, 4)), "TIFF")).any()


@pytest.mark.skipif("MSCN_HF_DATA" not in os.environ, reason="set MSCN_HF_DATA to a folder of real image sets")
def test_real_masks_lie_on_their_objects():
    source = open_source(f"{os.environ['MSCN_HF_DATA']}/saliency-truth", split="test", mask_column="mask")
    batch = CanvasCollate(256, with_masks=True)(list(open_order(source, Share(0, 0, 1, 16)).samples(0)))
    assert batch["broken_masks"] == [] and 0.05 < batch["foreground_share"].mean() < 0.5
    apart = []
    for canvas, mask, (height, width) in zip(batch["canvas"], batch["foreground"], batch["valid_hw"], strict=True):
        inside = mask[0, :height, :width] >= 128
        pixels = canvas[:, :height, :width].float()
        border = inside ^ (inside.roll(1, 1))
        steps = (pixels - pixels.roll(1, 2)).abs().mean(0)
        apart.append((steps[border].mean() / steps[:, 1:].mean()).item())
    assert np.median(apart) > 1.5, "edges of the mask lie on edges of the picture"
