"""A hook of MkDocs: the site mirrors the repository.

Documents lie in the site where they lie in the repository, and so does every
file that they link to. A link then works in both. The page in `demo/` is there,
too, and works. The notebook becomes a page with its outputs, and its formulas
become MathML, which browsers show without a script.
"""

import pathlib
import re

import nbformat
from latex2mathml import converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

_ROOT = pathlib.Path(__file__).parents[1]
_FOLDERS = (".", "docs", "results", "air/pretrained")
_FOLDER = re.compile(r"\[([^\]]+)\]\((?!http)[^)]*/\)")
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)
_LINK = re.compile(r"""(?:\]\(|src=")([^)"#\s]+)""")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
  """Has headings be called as GitHub calls them.

  Args:
    config: of the site.
  """
  config.mdx_configs["toc"]["slugify"] = _slug
  return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
  """Returns the files of the site: the theme's, and those of the repository.

  Args:
    files: those that MkDocs has found.
    config: of the site.
  """
  documents = [path for f in _FOLDERS for path in (_ROOT / f).glob("*.md")]
  paths = {*documents, *(_ROOT / "docs").glob("*.css")}
  paths.update(path for path in (_ROOT / "demo").rglob("*") if path.is_file())
  for document in documents:
    for link in _LINK.findall(document.read_text(encoding="utf-8")):
      path = (document.parent / link).resolve()
      if path.is_file() and path.is_relative_to(_ROOT):
        paths.add(path)
  mirrored = [
    File(
      path.relative_to(_ROOT).as_posix(),
      str(_ROOT),
      config.site_dir,
      config.use_directory_urls,
    )
    for path in sorted(paths)
  ]
  themes = [file for file in files if file.src_dir != config.docs_dir]
  return Files(themes + mirrored + _notebook(config))


def on_page_markdown(markdown: str, **_: object) -> str:
  """Returns a page as the site can show it.

  Tables that are folded away are rendered, and folders, which are not in the
  site, are named but not linked to. Links to the notebook lead to its page.

  Args:
    markdown: of the page.
  """
  markdown = markdown.replace("<details>", "<details markdown>")
  markdown = markdown.replace(".ipynb)", ".md)")
  return _FOLDER.sub(r"\1", markdown)


def _notebook(config: MkDocsConfig) -> list[File]:
  """Returns the notebook as a page, and its pictures."""
  path = _ROOT / "docs" / "air_explained.ipynb"
  notebook = nbformat.read(path, as_version=4)
  for cell in notebook.cells:
    if cell.cell_type == "markdown":
      cell.source = _FORMULA.sub(_mathml, cell.source)
  page, resources = MarkdownExporter().from_notebook_node(notebook)
  files = {"air_explained.md": page, **resources["outputs"]}
  return [
    File.generated(config, f"docs/{name}", content=content)
    for name, content in files.items()
  ]


def _mathml(formula: re.Match[str]) -> str:
  block, inline = formula.groups()
  if block:
    return converter.convert(block, display="block")
  return f"<span>{converter.convert(inline)}</span>"


def _slug(heading: str, separator: str) -> str:
  return re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", separator)
