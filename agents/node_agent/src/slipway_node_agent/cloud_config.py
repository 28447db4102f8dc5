"""The user data with which a plain cloud image becomes a node: cloud-init writes three files and starts one unit.

The unit fetches the agent before it starts it, so this is tried again after a reboot too, which cloud-init's `runcmd`
is not. What it prints goes to the console: there an operator sees why a server never claimed its plan.
"""

from __future__ import annotations

import json

from slipway_node_agent.config import BOOTSTRAP_PATH

PROGRAM_PATH = "/usr/local/lib/slipway/agent.pyz"
INSTALLER_PATH = "/usr/local/lib/slipway/install_agent.py"
UNIT_NAME = "slipway-agent.service"

INSTALLER = '''"""Fetches the agent's program, checks its SHA-256, puts it in its place; tries until that succeeds."""
import hashlib, json, os, ssl, sys, time, urllib.request

url, path = sys.argv[1], sys.argv[2]
with open(sys.argv[3]) as file:
    bootstrap = json.load(file)


def fetch():
    context = ssl.create_default_context(cadata=bootstrap["ca_pem"]) if url.startswith("https:") else None
    with urllib.request.urlopen(url, timeout=30, context=context) as answer:
        return answer.read(10000000)


def install(program):
    digest = hashlib.sha256(program).hexdigest()
    if digest != bootstrap["program_sha256"]:
        raise ValueError("its SHA-256 is %s, expected %s" % (digest, bootstrap["program_sha256"]))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "wb") as file:
        file.write(program)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(path + ".new", 0o755)
    os.replace(path + ".new", path)


def installed():
    if not os.path.exists(path):
        return False
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest() == bootstrap["program_sha256"]


pause = 0.25
while not installed():
    doing = "reach"
    try:
        program = fetch()
        doing = "install"
        install(program)
        print("slipway: agent installed from %s" % url, flush=True)
    except Exception as error:
        print("slipway: cannot %s %s: %s; again in %g s" % (doing, url, error, pause), flush=True)
        time.sleep(pause)
        pause = min(pause * 2, 30)
'''

_UNIT = """[Unit]
Description=Slipway node agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStartPre=/usr/bin/env python3 {installer} {url} {program} {bootstrap}
ExecStart=/usr/bin/env python3 {program}
TimeoutStartSec=infinity
Restart=always
RestartSec=5
StandardOutput=journal+console
StandardError=inherit

[Install]
WantedBy=multi-user.target
"""


def cloud_config(bootstrap_json: str, program_url: str) -> str:
    """The #cloud-config text for one server: `bootstrap_json` is an AgentBootstrap, `program_url` serves the agent.

    JSON is YAML. Raises ValueError for an URL that would break out of the unit's command line.
    """
    if not program_url.startswith(("https://", "http://")) or any(sign in program_url for sign in " \t\n'\"\\$%"):
        raise ValueError(f"the program's URL must be a plain http(s) URL, not {program_url!r}")
    unit = _UNIT.format(installer=INSTALLER_PATH, url=program_url, program=PROGRAM_PATH, bootstrap=BOOTSTRAP_PATH)
    config = {
        "write_files": [
            _file(BOOTSTRAP_PATH, bootstrap_json, "0600"),
            _file(INSTALLER_PATH, INSTALLER, "0644"),
            _file("/etc/systemd/system/" + UNIT_NAME, unit, "0644"),
        ],
        "runcmd": [
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", UNIT_NAME],
            ["systemctl", "start", "--no-block", UNIT_NAME],
        ],
    }
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def _file(path: str, content: str, permissions: str) -> dict[str, str]:
    return {"path": path, "owner": "root:root", "permissions": permissions, "content": content}
