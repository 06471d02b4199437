"""The viewer's commands, tools and keys, which a job's config is checked against."""

import ast
import json
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = "templates/viewer/commands.json"
TABLE = json.loads((ROOT / PLACE).read_text())


def test_no_two_commands_share_a_key():
    keys = Counter(command["key"] for command in TABLE["commands"].values())

    assert [key for key, count in keys.items() if count > 1] == []


def test_every_key_is_written_as_a_job_would_write_it():
    named = "|".join(TABLE["keys"]["named"])
    pattern = rf"(ctrl\+)?(alt\+)?(shift\+)?(\S|{named})"

    keys = [command["key"] for command in TABLE["commands"].values()]
    assert [key for key in keys if not re.fullmatch(pattern, key)] == []


def test_every_tool_has_a_command_and_every_mouse_button_a_tool():
    tools = {command.get("tool") for command in TABLE["commands"].values()} - {None}

    assert tools == set(TABLE["tools"])
    assert set(TABLE["mouse"]["buttons"].values()) <= set(TABLE["mouse"]["tools"])
    assert set(TABLE["mouse"]["tools"]) - {"tool"} <= tools


def test_wheel_ships_the_table():
    hook = ast.parse((ROOT / "hatch_build.py").read_text())
    said = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in hook.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }

    assert PLACE in said["FILES"]
    assert all((ROOT / name).is_file() for name in said["FILES"])
