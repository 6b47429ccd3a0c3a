"""PyTorch tensors, JAX arrays, and the channel orders of picture libraries."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Image, Text
from segmind_jupyter.errors import ContentError


def only(obj):
    """The one part of an object that the user calls x."""
    (part,) = to_parts(obj, name="x")
    return part


@pytest.fixture
def torch():
    """PyTorch, where it is installed."""
    return pytest.importorskip("torch")


@pytest.fixture
def jax():
    """JAX, where it is installed."""
    return pytest.importorskip("jax")


class TestTorch:
    @pytest.fixture
    def picture(self, torch):
        """Channels first, 20 x 30: red on the left, blue on the right, fractions."""
        pixels = torch.zeros(3, 20, 30)
        pixels[0, :, :15], pixels[2, :, 15:] = 1, 1
        return pixels

    @pytest.mark.parametrize(
        "change", ["float", "bfloat16", "byte", "requires_grad", "batch", "last"]
    )
    def test_a_picture_is_drawn_with_its_channels_first_or_last(self, picture, change, picture_in):
        """Whatever its type, as a batch of one, and on its way through a network."""
        tensor = {
            "float": picture,
            "bfloat16": picture.bfloat16(),
            "byte": (picture * 255).byte(),
            "requires_grad": picture.clone().requires_grad_(),
            "batch": picture[None],
            "last": picture.permute(1, 2, 0),
        }[change]
        drawn = picture_in(only(tensor))
        assert drawn.size == (30, 20)
        assert drawn.getpixel((2, 10)) == (255, 0, 0)
        assert drawn.getpixel((27, 10)) == (0, 0, 255)

    def test_a_normalized_picture_is_stretched(self, picture, picture_in):
        """What torchvision's Normalize gives keeps its contrast."""
        drawn = picture_in(only((picture - 0.5) / 0.25))
        assert drawn.getpixel((2, 10)) == (255, 0, 0)

    def test_grey_has_one_channel(self, torch, picture_in):
        """One channel of fractions is a picture."""
        ramp = torch.linspace(0, 1, 64).repeat(1, 64, 1)
        drawn = picture_in(only(ramp))
        assert (drawn.getpixel((0, 0)), drawn.getpixel((63, 0))) == ((0,) * 3, (255,) * 3)

    def test_activations_of_one_sequence_are_numbers(self, torch):
        """Batch, position and width have the shape of a grey picture, and other values."""
        tensor = torch.randn(1, 128, 64, generator=torch.Generator().manual_seed(0))
        assert only(tensor).text.startswith("x: Tensor, shape (1, 128, 64), float32\nmin -")

    def test_a_batch_of_pictures_says_how_to_name_one(self, torch):
        """Sixteen pictures are a table of numbers, with advice."""
        assert "a batch of pictures? name one: x[0]" in only(torch.zeros(16, 3, 8, 8)).text

    @pytest.mark.parametrize(
        ("make", "heading"),
        [
            (lambda t: t.ones(2, 3), "(2, 3), float32\nmin 1, max 1"),
            (lambda t: t.ones(2, requires_grad=True), "(2,), float32, requires grad"),
            (lambda t: t.ones(2, dtype=t.bfloat16), "(2,), bfloat16\nmin 1, max 1"),
            (lambda t: t.ones(2, dtype=t.float16), "(2,), float16\nmin 1, max 1"),
            (lambda t: t.ones(2, dtype=t.bool), "(2,), bool\n2 of 2 true"),
            (lambda t: t.ones(2, dtype=t.complex64).conj(), "(2,), complex64\n[1.-0.j 1.-0.j]"),
            (lambda t: t.zeros(0), "(0,), float32\n[]"),
            (lambda t: t.eye(2).to_sparse(), "(2, 2), float32, sparse_coo, 2 values stored\nmin 0"),
            (lambda t: t.eye(99).to_sparse(), "[its values are not read: it is sparse: name its"),
            (
                lambda t: t.ones(2, device="meta"),
                "(2,), float32, on meta\n[its values are not read",
            ),
        ],
    )
    def test_any_tensor_is_described(self, torch, make, heading):
        """Shape, type, device, gradient, and the values that there are."""
        assert heading in only(make(torch)).text

    def test_a_single_number_is_a_word(self, torch):
        """A loss stands in the sentence that names it."""
        part = only(torch.tensor(0.25, requires_grad=True))
        assert (part.text, part.inline) == ("0.25", True)

    def test_the_tensor_is_left_as_it_was(self, torch):
        """Also its gradient and its values."""
        tensor = torch.rand(3, 16, 16, requires_grad=True)
        before = tensor.detach().clone()
        only(tensor)
        assert tensor.requires_grad
        assert torch.equal(tensor, before)

    def test_a_large_tensor_is_not_copied(self, torch):
        """What would have to be converted or fetched whole is read at a corner."""
        tensor = torch.zeros(1, dtype=torch.bfloat16).expand(10_000, 10_000)
        assert "large: of its values, only the first 32×32 are read" in only(tensor).text

    def test_a_tensor_on_a_device_is_fetched(self, torch):
        """A stand-in: no tensor leaves the device but through `cpu()`."""

        class OnDevice(torch.Tensor):
            @property
            def device(self):
                return torch.device("cuda", 0)

            def numpy(self, *, force=False):
                raise TypeError("can't convert cuda:0 device type tensor to numpy")

            def cpu(self):
                return self.as_subclass(torch.Tensor)

        part = only(torch.ones(2).as_subclass(OnDevice))
        assert part.text == (
            "x: OnDevice, shape (2,), float32, on cuda:0\nmin 1, max 1, mean 1\n[1. 1.]"
        )

    def test_in_a_container_small_ones_are_words_and_large_ones_tables(self, torch):
        """A dict of losses stays on its line."""
        (part,) = to_parts({"loss": torch.tensor(0.25)}, name="x")
        assert part.text == "{'loss': tensor(0.2500)}"
        parts = to_parts({"weights": torch.ones(4, 4)}, name="x")
        assert "shape (4, 4)" in parts[-1].text

    @pytest.mark.usefixtures("torch")
    def test_without_numpy_the_error_says_what_to_install(self):
        """torch does without NumPy, and so cannot hand its values out."""
        code = (
            "import sys, warnings\n"
            "warnings.simplefilter('ignore')\n"
            "sys.modules['numpy'] = None\n"
            "import torch\n"
            "del sys.modules['numpy']\n"
            "from segmind_jupyter.content.convert import to_parts\n"
            "class Without(torch.Tensor):\n"
            "    def numpy(self, *, force=False): raise RuntimeError('Numpy is not available')\n"
            "to_parts(torch.ones(2).as_subclass(Without))\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
        )
        assert "`pip install numpy`" in run.stderr


class TestJax:
    @pytest.mark.parametrize(
        ("make", "heading"),
        [
            (lambda n: n.ones((2, 3)), "jax.Array, shape (2, 3), float32\nmin 1, max 1"),
            (lambda n: n.ones(2, n.bfloat16), "jax.Array, shape (2,), bfloat16\nmin 1, max 1"),
            (lambda n: n.ones(2, n.int8), "jax.Array, shape (2,), int8\nmin 1, max 1"),
            (lambda n: n.zeros((10_000, 10_000), n.int8), "only the first 32×32 are read"),
        ],
    )
    def test_any_array_is_described(self, jax, make, heading):
        """Shape, type and values; a large one at a corner."""
        assert heading in only(make(jax.numpy)).text

    def test_a_picture_has_its_channels_last(self, jax, picture_in):
        """As JAX's own layers have it."""
        pixels = np.zeros((20, 30, 3), np.float32)
        pixels[..., 1] = 1
        assert picture_in(only(jax.numpy.asarray(pixels))).getpixel((5, 5)) == (0, 255, 0)

    def test_a_single_number_is_a_word(self, jax):
        """As of any library."""
        assert only(jax.numpy.float32(0.25)).text == "0.25"

    def test_a_donated_array_is_refused(self, jax):
        """Its values are gone, and the message says so."""
        array = jax.numpy.ones(3)
        array.delete()
        with pytest.raises(ContentError, match="`x`: The JAX array was deleted"):
            only(array)

    def test_inside_a_transformation_there_are_no_values(self, jax):
        """A tracer goes as its repr."""
        seen = []
        jax.jit(lambda x: seen.append(only(x).text) or x)(jax.numpy.ones(3))
        assert "float32[3]" in seen[0]

    @pytest.mark.usefixtures("jax")
    def test_an_array_over_several_devices_says_so(self):
        """A small one is gathered; four devices are simulated."""
        code = (
            "import jax, numpy as np\n"
            "from jax.sharding import Mesh, NamedSharding, PartitionSpec\n"
            "mesh = Mesh(np.array(jax.devices()), ('x',))\n"
            "array = jax.device_put(np.arange(8.), NamedSharding(mesh, PartitionSpec('x')))\n"
            "from segmind_jupyter.content.convert import to_parts\n"
            "print(to_parts(array)[0].text)\n"
        )
        environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert run.stdout.startswith("jax.Array, shape (8,), float32, over 4 devices\nmin 0, max 7")


class TestPictureLibraries:
    def test_scikit_image_gives_red_first(self, picture_in):
        """What it shows is what is sent."""
        data = pytest.importorskip("skimage.data")
        sample = data.astronaut()
        drawn = picture_in(only(sample))
        assert np.abs(np.asarray(drawn, int) - sample)[200:300].mean() < 6

    def test_opencv_gives_blue_first_and_is_turned_by_its_user(self, picture_in, tmp_path):
        """An array does not say its order: reversed by the user, red is red."""
        cv2 = pytest.importorskip("cv2")
        from PIL import Image as PILImage

        PILImage.new("RGB", (32, 32), (255, 0, 0)).save(tmp_path / "red.png")
        image = cv2.imread(str(tmp_path / "red.png"))
        assert picture_in(only(image)).getpixel((5, 5)) == (0, 0, 255)
        assert picture_in(only(image[..., ::-1])).getpixel((5, 5)) == (255, 0, 0)


def test_the_libraries_are_recognised_by_name_alone():
    """A class of the user's own that is called Tensor is none."""

    class Tensor:
        def __repr__(self):
            return "my tensor"

    part = only(Tensor())
    assert isinstance(part, Text)
    assert not isinstance(part, Image)
    assert part.text == "my tensor"
