"""The live lab: the converted network, in the page itself (chapter 10).

`core.mjs` simulates, the other modules draw; `bundle` puts them together for a page
(`directive`) and for JupyterLab (`widget`), so that both run the same files.
"""
