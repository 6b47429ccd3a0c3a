"""The thin core: Segmind's Claude API, and nothing of Jupyter, PIL or pandas.

The only room that imports httpx.
"""
