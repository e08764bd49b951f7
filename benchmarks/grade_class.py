"""Grade a class of mutated students with the one command, and check every score.

``python benchmarks/grade_class.py --students 200`` prints the time for a submission and
the peak memory. It exits with 1 if a score differs from what the notebook deserves.
"""

import argparse
import csv
import random
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "assignments"), str(ROOT / "tests" / "grading")]

import mutations  # noqa: E402
from grading.masters import FOLDER, master_names  # noqa: E402
from school import MASTERS, School, fingerprint, grade, make_school, write_roster  # noqa: E402

GUARDED = [FOLDER, ROOT / "snnlib", MASTERS]


def set_up(folder: Path, students: int, seed: int, only: str = "") -> list[School]:
    """One school an assignment, in one class folder, every kind of student in turn."""
    names = master_names()
    kinds = mutations.HONEST + mutations.HOSTILE + [mutations.right] * 10
    kinds = [getattr(mutations, only)] if only else kinds
    makers = (kinds * (students // len(kinds) + 1))[:students]
    random.Random(seed).shuffle(makers)
    schools = [
        make_school(folder, name, makers[i :: len(names)], FOLDER, seed, f"{name[0]}_")
        for i, name in enumerate(names)
    ]
    write_roster(folder, [student for school in schools for student in school.submissions])
    return schools


def compare(schools: list[School]) -> list[str]:
    """Every score and status that is not as it should be."""
    with ProcessPoolExecutor(2) as pool:
        deserved = list(pool.map(School.deserved, map(without_server, schools)))
    wrong = []
    for school, points in zip(schools, deserved, strict=True):
        for student, submission in school.submissions.items():
            row = school.rows()[student]
            waits = row["status"] == "needs a person" and "waits for a mark" in row["notes"]
            status = "graded" if waits else row["status"]
            if float(row["score"]) != points[student] or status not in submission.statuses:
                wrong.append(f"{student}: {row['score']} {row['status']}, not {points[student]}")
    return wrong


def without_server(school: School) -> School:
    """A copy that another process can receive."""
    return School(school.folder, school.master, school.submissions, None, None, None, None)


def report(schools: list[School], seconds: float) -> None:
    """Print what the grading cost."""
    rows = [school.rows()[student] for school in schools for student in school.submissions]
    ran = sorted(float(row["seconds"]) for row in rows if row["status"] != "did not run")
    memory = max(float(row["peak_memory_MiB"]) for row in rows)
    usual = statistics.median(float(row["peak_memory_MiB"]) for row in rows)
    print(f"{len(rows)} submissions in {seconds:.0f} s: {seconds / len(rows):.1f} s each")
    print(f"in the sandbox: median {statistics.median(ran):.1f} s, longest {ran[-1]:.1f} s")
    print(f"memory: median {usual:.0f} MiB, peak {memory:.0f} MiB (pages that processes share")
    print("count for each of them)")


def main() -> int:
    """Set up, grade, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="one kind of student, by its name")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="class-")) / "class"
    schools = set_up(folder, arguments.students, arguments.seed, arguments.only)
    before = fingerprint(*GUARDED, folder / "inbox")
    start = time.perf_counter()
    run = grade(folder, f"--jobs={arguments.jobs}", masters=FOLDER)
    report(schools, time.perf_counter() - start)
    looks = [line for line in run.stdout.splitlines() if "look:" in line]
    print(run.stderr, *looks, sep="\n")
    wrong = compare(schools)
    if fingerprint(*GUARDED, folder / "inbox") != before:
        wrong.append("a file outside the work folder changed")
    print(*wrong, f"{len(wrong)} of {arguments.students} wrong; class kept in {folder}", sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    csv.field_size_limit(1 << 24)
    sys.exit(main())
