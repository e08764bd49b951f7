"""The live lab: the converted network, in the page itself (chapter 10).

`simulation.mjs` runs what `network.mjs` reads, other modules draw it, and `mount.mjs` puts a
lab on a page.  `bundle` joins the files for a page (`directive`) and for JupyterLab (`widget`),
so that both run the same.
"""
