from syncdiff_bench.api.dubbing import dub as dub
from syncdiff_bench.api.loading import load_dataset as load_dataset
from syncdiff_bench.api.loading import load_method as load_method
from syncdiff_bench.api.loading import load_metric as load_metric
from syncdiff_bench.api.loading import load_run as load_run
from syncdiff_bench.api.reporting import compare as compare
from syncdiff_bench.api.reporting import report as report
from syncdiff_bench.api.running import run as run
from syncdiff_bench.api.running import score as score

__version__: str
