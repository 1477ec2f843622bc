"""The conformance suite that plugin authors run on their own plugin.

    from syncdiff_bench.testing import parametrize_with_checks

    @parametrize_with_checks(MyMethod())
    def test_conformance(check):
        check()

`syncdiff-bench plugin check NAME` runs the same checks on an installed plugin. Each check has a name, and fails with
an AssertionError that says what was expected and what came.

`calibrated` is for benchmarks: it measures the unit of `syncdiff-bench check`.
"""

from syncdiff_bench.testing.calibration import calibrated
from syncdiff_bench.testing.checks import Check, checks_of, parametrize_with_checks

__all__ = ["Check", "calibrated", "checks_of", "parametrize_with_checks"]
