"""Every agent has a page of its own in docs/agents/, which names all that it logs."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_every_agent_has_a_page_that_names_its_metrics(agent_class, agent_name, log_rows):
    keys = sorted({key for row in log_rows for key in row})
    assert len([key for key in keys if key.startswith("train/")]) > 2

    page = (DOCS / "agents" / f"{agent_name}.md").read_text(encoding="utf-8")
    assert agent_class.__name__ in page
    assert re.search(r"https?://", page), "it says where the algorithm comes from"
    everywhere = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    for key in keys:
        assert f"`{key}`" in (page if key.startswith("train/") else everywhere), key
