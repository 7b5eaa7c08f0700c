"""Where an analysis writes: its figure, and its numbers.

Of one run, to the run's folder: figures/NAME.png and analysis/NAME.json. Of
several, to the folder that all of them lie in: NAME.png and NAME.json.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from absl import flags

from experiments.common import launcher


@dataclasses.dataclass(frozen=True)
class Outputs:
  """The two files of an analysis.

  Attributes:
    name: of both.
    suffix: of the file with the numbers.
  """

  name: str
  suffix: str = ".json"

  def define_flags(
    self, flag_values: flags.FlagValues, module_name: str = "run"
  ) -> None:
    """Defines --figure and --json, by which they go elsewhere.

    Args:
      flag_values: gets them.
      module_name: the group that they are listed in.
    """
    for flag, what, path in (
      ("figure", "figure", f"figures/{self.name}.png"),
      ("json", "file of the numbers", f"analysis/{self.name}{self.suffix}"),
    ):
      flags.DEFINE_string(
        flag,
        "",
        f"the {what}; by default {path} in the run's folder",
        flag_values=flag_values,
        module_name=module_name,
      )

  def files(
    self, flag_values: flags.FlagValues, runs: Sequence[pathlib.Path]
  ) -> tuple[pathlib.Path, pathlib.Path]:
    """Returns the figure, and the file with the numbers.

    Args:
      flag_values: parsed.
      runs: folders of the runs, at least one; or files in their stead.

    Raises:
      UsageError: if one of them cannot be a file.
    """
    if len(runs) > 1:
      parents = [os.path.dirname(os.path.abspath(run)) for run in runs]
      common = pathlib.Path(os.path.commonpath(parents))
      here = pathlib.Path.cwd()
      if common.is_relative_to(here):
        common = common.relative_to(here)
      figures = numbers = common
    else:
      folder = runs[0].parent if runs[0].is_file() else runs[0]
      figures, numbers = folder / "figures", folder / "analysis"
    figure = flag_values.figure or figures / f"{self.name}.png"
    json = flag_values.json or numbers / f"{self.name}{self.suffix}"
    return (
      launcher.output_file("figure", str(figure)),
      launcher.output_file("json", str(json)),
    )
