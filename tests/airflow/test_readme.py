"""The DAG that the READMEs show runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("name", ["README.md", "README.pt-BR.md"])
def test_the_dag_in_the_readme_runs(run_dag, tmp_path, wts_connection, fast_emulator, name):
    (code,) = re.findall(r"<!-- .*test_readme\.py -->\n```python\n(.*?)```", (ROOT / name).read_text("utf-8"), re.S)
    path = tmp_path / "shown.py"
    path.write_text(code.replace("retries=2", "retries=2, poll_interval=1"), encoding="utf-8")
    outcome = run_dag(path, connections=wts_connection)
    assert outcome.state == "success", outcome.logs[-5000:]
    assert outcome.task("remind").returned["status"] == "COMPLETED"
    assert len(fast_emulator.received("+5511999990001")) == 1
