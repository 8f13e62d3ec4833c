"""Settings, and one thing that must be set before NumPy is imported: its products get one thread each.

With more, OpenBLAS joins its threads whenever a process forks. A child whose limits are set between fork and exec, as
those of ffmpeg are, is begun by a real fork; where another thread multiplies at that moment, OpenBLAS waits for ever,
and the whole process with it. Seen with spectra beside ffmpeg. Every package imports this first; a program that imports
NumPy before us has to set the variable itself.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
