"""xarray's arrays and datasets: what is said, what is drawn, and what is never loaded."""

from __future__ import annotations

import numpy as np
import pytest

from segmind_jupyter.content.convert import to_blocks, to_parts

xr = pytest.importorskip("xarray")


@pytest.fixture
def air():
    """Ten days of a field of 20 x 30, which rises from 0 in the north-west corner to 599."""
    field = np.arange(600.0).reshape(20, 30)
    return xr.DataArray(
        np.stack([field + day for day in range(10)]),
        dims=("time", "lat", "lon"),
        coords={
            "time": np.arange("2024-01-01", "2024-01-11", dtype="datetime64[D]").astype(
                "datetime64[ns]"
            ),
            "lat": np.linspace(90, -5, 20),
            "lon": np.arange(30.0),
        },
        name="air",
        attrs={"units": "K", "long_name": "temperature"},
    )


def test_a_field_is_drawn_and_its_axes_are_told(air, picture_in):
    """The picture has the first row at the top; the text says what rows, columns and shades are."""
    text, image = to_parts(air[0], name="t")
    assert text.text.startswith("t: DataArray air, lat 20 × lon 30, float64\nCoordinates:\n")
    assert "- time () datetime64[ns]: 2024-01-01\n" in text.text
    assert "- lat (lat) float64: 90 to -5\n" in text.text
    assert "Attributes:\n- units: K\n- long_name: temperature\n" in text.text
    assert "min 0, max 599, mean 299.5" in text.text
    assert "rows are lat, from 90 at the top to -5" in text.text
    assert "columns are lon, from 0 on the left to 29" in text.text
    assert "Black is 0, white is 65535 or missing" not in text.text
    assert text.text.endswith("Black is 0, white is 599 or missing.")
    picture = picture_in(image)
    assert picture.size == (30, 20)
    assert picture.getpixel((0, 0))[0] < 10
    assert picture.getpixel((29, 19))[0] > 245
    assert [block["type"] for block in to_blocks(air[0])] == ["text", "image"]


def test_more_axes_are_written_as_an_array(air):
    """Three dimensions are no picture: the corners are written."""
    (text,) = to_parts(air, name="air")
    assert text.text.startswith("air: DataArray air, time 10 × lat 20 × lon 30, float64\n")
    assert "- time (time) datetime64[ns]: 2024-01-01 to 2024-01-10" in text.text
    assert text.text.endswith("of 6,000 values not shown]")
    assert text.about == "DataArray 10×20×30 float64"


def test_colours_are_drawn_as_they_are(picture_in):
    """Three channels in the last dimension."""
    pixels = np.zeros((16, 24, 3), "uint8")
    pixels[..., 2] = 255
    text, image = to_parts(xr.DataArray(pixels, dims=("y", "x", "band")))
    assert "Black is" not in text.text
    assert picture_in(image).getpixel((5, 5)) == (0, 0, 255)


def test_few_values_are_written():
    """A short array and a single value are no pictures."""
    assert to_parts(xr.DataArray([1, 2, 3]))[0].text.endswith("min 1, max 3, mean 2\n[1 2 3]")
    assert to_parts(xr.DataArray(5))[0].text.startswith("DataArray, a single value, int64")


def test_a_dataset_lists_coordinates_variables_and_attributes(air):
    """Each variable with its dimensions, range, meaning and unit."""
    dataset = air.to_dataset().assign(n=("lat", np.arange(20))).assign_attrs(title="x" * 500)
    (part,) = to_parts(dataset, name="ds")
    assert part.text.startswith("ds: Dataset, time 10, lat 20, lon 30\nCoordinates:\n")
    variable = "- air (time, lat, lon) float64: min 0, max 608, mean 304; temperature; K\n"
    assert f"Variables:\n{variable}- n (lat) int64: min 0, max 19, mean 9.5\n" in part.text
    assert "- title: xxx" in part.text
    assert len(part.text) < 1_000
    assert part.about == "Dataset of 2 variables"


def test_missing_values_are_counted(air):
    """NaN is neither drawn as a number nor counted in the range."""
    text, _ = to_parts(air[0].where(air[0] > 5.5))
    assert "min 6, max 599" in text.text
    assert "6 of 600 NaN" in text.text


def test_levels_of_stacked_coordinates_are_read(air):
    """A MultiIndex has no array behind it, and is in memory all the same."""
    (part,) = to_parts(air.stack(place=("lat", "lon")).to_dataset())
    assert "- place (place) object: (90.0, 0.0) to (-5.0, 29.0)" in part.text


def test_names_of_any_kind_are_written():
    """Dimensions and variables need not be strings."""
    (part,) = to_parts(xr.Dataset({1: ((2,), [3])}))
    assert part.text == "Dataset, 2 1\nVariables:\n- 1 (2) int64: 3"


def test_dask_is_not_computed(air):
    """Neither the array nor the dataset runs its graph."""
    dask_array = pytest.importorskip("dask.array")

    def fail(block):
        raise AssertionError("computed")

    lazy = air.copy(data=dask_array.map_blocks(fail, dask_array.zeros(air.shape), dtype=float))
    assert "- air (time, lat, lon) float64: not in memory" in to_parts(lazy.to_dataset())[0].text
    (part,) = to_parts(lazy[0])
    assert part.text.endswith("run its .load(), or .compute(), and name what that gives]")


def test_a_file_is_not_read(air, tmp_path):
    """A dataset that was opened and not loaded stays so; loaded, it is drawn."""
    pytest.importorskip("scipy")
    air.to_netcdf(tmp_path / "air.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "air.nc", engine="scipy") as dataset:
        assert "not in memory" in to_parts(dataset)[0].text
        assert len(to_parts(dataset.air[0])) == 1
        assert not dataset.air.variable._in_memory
        assert len(to_parts(dataset.air[0].load())) == 2


def test_of_many_vast_variables_no_range_is_sought():
    """Each of them alone would be read, and all together for half a minute."""
    vast = np.broadcast_to(1.0, (40_000_000,))
    (part,) = to_parts(xr.Dataset({f"v{n}": ("x", vast) for n in range(60)}))
    assert "- v0 (x) float64: not read: it is large\n" in part.text
    (part,) = to_parts(xr.Dataset({"alone": ("x", vast[:1_000_000])}))
    assert "- alone (x) float64: min 1, max 1, mean 1" in part.text
