"""Magics, and the rendering of replies. The only room that imports IPython and ipywidgets."""
