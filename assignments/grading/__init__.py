"""Release assignments to a class and grade what comes back.

The modules in the order the data flows::

    masters     MyST Markdown with tasks, solutions, hidden tests  -> nbgrader's notebooks
    blank       the same without solutions, as students get it
    check       a master earns every point, its blank version none
    release     dist/students: blank notebooks, the library, requirements
    leaks       no solution, no hidden test, in what students get

    tables      CSV files as people have them
    roster      who is in the class, from a table or an LMS's export
    members     the files of an inbox, in archives and folders, within limits
    owners      whose a file is, by the names that LMSs give
    collect     all this                                           -> one file a student
    submission  whatever a student hands in                        -> a notebook safe to grade
    answers     text beside the cell for an answer                 -> in it
    inert       text that nothing runs, wherever it is opened (outputs: the same for those)
    sandbox     one process behind bubblewrap, within limits (inside: its first act)
    kernels     how Jupyter finds the kernel that runs in it
    compiled    what numba made of the library, lent to every sandbox
    script      what the judge runs: given cells and tests
    judging     the judge, in a sandbox of its own, and what a kernel answers it
    referee     the judge as the grader sees it
    execute     runs a notebook in its kernel, and asks the judge which tests passed
    probes      cells that must fail, where a notebook and the judge disagree
    records     what was found out about a submission, kept for the next run
    classroom   where all this lies (files: whole or not at all)
    grade       the class, one submission at a time, resumable
    processes   which nbgrader runs in, side by side; none outlives the run
                (nbgrader_config: how it grades there)
    interrupts  Ctrl-C, at any moment
    marks       what a person decides
    report      grades.csv and details
    feedback    what each student reads
    lms         tables and archives that Canvas and Moodle take back
    commands    the command line

Run ``python -m grading --help`` with this folder's parent on ``PYTHONPATH``, or
use ``make release`` and ``make grade``.
"""
