"""Write pip constraints: the oldest version of each dependency that pyproject.toml allows."""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
for dependency in project["dependencies"]:
    sys.stdout.write(re.sub(r">=([0-9.]+)(,[^;]*)?", r"==\1", dependency) + "\n")
