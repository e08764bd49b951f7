"""The chapters as notebooks for readers: plain Markdown, no tests, solutions folded.

A chapter's text is MyST, which JupyterLab, Colab and VS Code show as its source.  Here a parser
of MyST finds what is not plain Markdown; that is replaced, and the rest of the text stays as it
was written.  Code and outputs come from the executed pair, so that nothing runs here.

    passage     lines of a page and where they stand; edits to them
    myst        parser of MyST that knows the place of everything; directives
    book        what pages refer to: numbers, titles, terms, addresses
    citations   references.bib: "Diehl et al. (2015)" and the list at the end
    inline      roles, links, formulas           -> words and links
    blocks      boxes, equations, pictures, labs -> quotes, folds, pictures
    carried     data that a chapter reads beside the library
    first_cell  sets up what is missing where a notebook is opened
    notebook    a page and its executed pair     -> a notebook

A directive, role or construct that no module knows stops everything, by file and line.
"""
