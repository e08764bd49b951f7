"""What two processes need so that one can judge functions of the other.

Stands alone: this folder, beside the library, is all that both sandboxes can read.

::

    wire          plain values as JSON and bytes, and messages of them
    figures       matplotlib figures as plain values, and back
    arguments     what goes to the student's process, and what changed there
    networks      no object that arrives, or comes back, hides its own methods
    surroundings  random generators and open figures, the same on both sides
    serve         the student's side: answers calls until the judge hangs up
    proxies       the judge's side: functions, classes and gradients of the student
    judge         the process that runs the tests
"""
