"""Hold what is installed against the database of known vulnerabilities (pip-audit); 1 where one is known.

Where the database cannot be asked, or knows none of the packages, that is said and is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys

COMMAND = (sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--skip-editable")


def judge(stdout: str, stderr: str) -> tuple[int, list[str]]:
    """What pip-audit said -> exit status, lines to print."""
    try:
        packages = json.loads(stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = (stderr.strip().splitlines() or ["pip-audit says nothing"])[-1]
        return 0, [f"::warning::not audited, the database cannot be asked: {reason}"]
    asked = [one for one in packages if "skip_reason" not in one]
    found = [f"{one['name']} {one['version']}: {bug['id']}" for one in asked for bug in one["vulns"]]
    if found:
        return 1, found
    if not asked:
        return 0, [f"::warning::not audited, the database knows none of {len(packages)} packages"]
    return 0, [f"{len(asked)} packages audited, none with a known vulnerability; {len(packages) - len(asked)} unknown"]


if __name__ == "__main__":
    done = subprocess.run(COMMAND, capture_output=True, text=True, errors="replace", check=False)
    status, lines = judge(done.stdout, done.stderr)
    print("\n".join(lines))
    sys.exit(status)
