"""How nbgrader releases and grades here; read by nbgrader, not imported."""

import os

from nbgrader.preprocessors import CheckCellMetadata, LimitOutput, SaveAutoGrades

from grading.blank import CODE_STUB, TEXT_STUB
from grading.execute import MEBI, JudgedExecute
from grading.kernels import KERNEL
from grading.outputs import Inert
from grading.sandbox import Limits

limits = Limits.from_environment()

c = get_config()
c.CourseDirectory.course_id = "snn"
c.CourseDirectory.ignore = [".ipynb_checkpoints", "__pycache__", "*.md", "*.py", "*.csv"]
c.IncludeHeaderFooter.header = ""
c.ClearSolutions.code_stub = {"python": CODE_STUB}
c.ClearSolutions.text_stub = TEXT_STUB
c.JudgedExecute.timeout = limits.cell_seconds
c.JudgedExecute.shutdown_kernel = "immediate"  # nothing in it is needed any more
c.JudgedExecute.max_output = limits.output * MEBI
c.JudgedExecute.max_outputs = limits.outputs * MEBI
c.Autograde.autograde_preprocessors = [
    JudgedExecute,
    LimitOutput,
    Inert,
    SaveAutoGrades,
    CheckCellMetadata,
]
# nbgrader's own Autograde buttons know no sandbox: without this variable nothing runs
c.JudgedExecute.kernel_name = os.environ.get("GRADING_KERNEL", "use-make-grade-instead")
if c.JudgedExecute.kernel_name == KERNEL:
    c.KernelManager.transport = "ipc"  # the sandbox has no network
    c.KernelManager.ip = os.path.join(os.environ["TMPDIR"], "kernel")
