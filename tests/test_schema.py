"""schema.json describes what the command prints: every key, its unit, and no more."""

from __future__ import annotations

import ast
import contextlib
import copy
import enum
import io
import json
import re
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import bindcheck
from bindcheck import jsonform, model, native, words
from bindcheck.cli.main import run
from bindcheck.words import CauseCode
from tests.support import NOBODY, Holder, as_user, needs

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(bindcheck.__file__).parent
SCHEMA: dict[str, Any] = json.loads((PACKAGE / "schema.json").read_text("utf-8"))
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# Keys of the JSON form whose values are words for programs.
WORDS = frozenset(
    [
        *("action", "blocks", "certainty", "code", "direction", "domain", "family"),
        *("how", "kind", "overlap", "protocol", "sharing", "state", "step", "type"),
        *("traits", "verdict"),
    ]
)


def objects(schema: object) -> Iterator[dict[str, Any]]:
    """Every schema of an object with listed properties, at any depth."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for one in schema.values():
            yield from objects(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from objects(one)


def closed() -> dict[str, Any]:
    """The schema with every object closed: it must know all that is printed."""
    made = copy.deepcopy(SCHEMA)
    for one in objects(made):
        one["additionalProperties"] = False
    return made


# Of explain() in Python alone.
SOMETIMES = frozenset({"reported"})
TOLERANT = jsonschema.Draft202012Validator(SCHEMA)
CLOSED = jsonschema.Draft202012Validator(closed())


def printed(report: bindcheck.Report) -> dict[str, Any]:
    """The JSON of a report, once it is found to fit the schema in both directions."""
    answer: dict[str, Any] = json.loads(jsonform.dumps(report))
    assert answer == bindcheck.to_dict(report)
    fits(answer)
    return answer


def fits_part(name: str, answer: dict[str, Any]) -> None:
    """Check what a verb prints against its part, with every object closed."""
    # "$ref": "#" is the whole schema, so a part stands beside the others.
    within = {**closed(), "$id": "https://example.org/report"}
    jsonschema.Draft202012Validator(
        {
            "$ref": f"https://example.org/report#/$defs/{name}",
            "$defs": {"report": within},
        }
    ).validate(answer)


def fits(answer: dict[str, Any]) -> None:
    TOLERANT.validate(answer)
    CLOSED.validate(answer)
    for key, word in words_of(answer):
        assert KEBAB.fullmatch(word), (key, word)


def words_of(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Each word that stands in an answer, with its key."""
    if isinstance(value, dict):
        for name, one in value.items():
            if name != "context":
                yield from words_of(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from words_of(one, key)
    elif isinstance(value, str) and key in WORDS:
        yield key, value


def codes(answer: dict[str, Any]) -> list[list[str]]:
    """The codes of the causes, for each result."""
    return [
        [cause["code"] for cause in result["causes"]] for result in answer["results"]
    ]


def test_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_key_is_required_and_described() -> None:
    found = list(objects(SCHEMA))
    assert len(found) >= 18
    for one in found:
        always = [name for name in one["properties"] if name not in SOMETIMES]
        assert one["required"] == always
        for name, described in one["properties"].items():
            assert described["description"].endswith("."), name


def test_unknown_keys_and_words_are_tolerated() -> None:
    text = json.dumps(SCHEMA)
    assert '"enum"' not in text
    assert '"additionalProperties": false' not in text
    example = shape()
    example["results"][0]["causes"][0]["code"] = "a-word-of-next-year"
    example["results"][0]["verdict"] = "another-one"
    example["results"][0]["blockers"][0]["owner"]["a_key_of_next_year"] = {"x": [1]}
    TOLERANT.validate(example)


@pytest.mark.parametrize(
    ("place", "key", "words"),
    [
        ("diagnosis", "verdict", words.Verdict),
        ("target", "family", words.Family),
        ("target", "type", words.SocketType),
        ("target", "protocol", words.Protocol),
        ("attempt", "step", words.Step),
        ("error", "domain", words.Domain),
        ("cause", "code", words.CauseCode),
        ("cause", "certainty", words.Certainty),
        ("blocker", "kind", words.Kind),
        ("blocker", "direction", words.Direction),
        ("blocker", "overlap", words.Overlap),
        ("blocker", "sharing", words.Sharing),
        ("blocker", "blocks", words.Blocks),
        ("release", "how", words.ReleaseHow),
        ("owner", "kind", words.OwnerKind),
        ("socket", "state", words.State),
        ("trial", "step", words.Step),
        ("next_error", "cause", words.CauseCode),
    ],
)
def test_known_words_are_listed(place: str, key: str, words: type[enum.Enum]) -> None:
    listed = SCHEMA["$defs"][place]["properties"][key]["examples"]
    assert listed == [one.value for one in words]


def test_known_traits_are_listed() -> None:
    listed = SCHEMA["$defs"]["owner"]["properties"]["traits"]["items"]["examples"]
    assert listed == [one.value for one in words.Trait]


def test_version_of_the_form_is_that_of_the_code() -> None:
    assert SCHEMA["properties"]["schema"]["const"] == jsonform.SCHEMA
    assert SCHEMA["$defs"]["probe"]["properties"]["schema"]["const"] == jsonform.SCHEMA


@pytest.mark.parametrize("missing", ["context", "results", "schema", "version"])
def test_missing_key_is_found(missing: str) -> None:
    example = shape()
    del example[missing]
    with pytest.raises(jsonschema.ValidationError, match=missing):
        TOLERANT.validate(example)


@pytest.mark.parametrize(
    ("key", "value"), [("port", "8080"), ("port", 65536), ("family", 4), ("text", None)]
)
def test_wrong_type_is_found(key: str, value: object) -> None:
    example = shape()
    example["results"][0]["target"][key] = value
    with pytest.raises(jsonschema.ValidationError):
        TOLERANT.validate(example)


def test_words_of_the_model_are_lower_case_kebab() -> None:
    enums = [
        one
        for one in vars(words).values()
        if isinstance(one, type)
        and issubclass(one, enum.StrEnum)
        and one is not enum.StrEnum
    ]
    assert len(enums) >= 14
    for one in enums:
        for word in one:
            assert KEBAB.fullmatch(word.value), word


def test_words_in_the_code_are_lower_case_kebab() -> None:
    """Actions and notices have no enumeration: their words stand where they are made."""
    found = []
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id not in ("Remedy", "Notice"):
                continue
            for keyword in node.keywords:
                if isinstance(keyword.value, ast.Attribute):
                    continue  # a member of an enumeration
                if keyword.arg in ("action", "code"):
                    assert isinstance(keyword.value, ast.Constant), file
                    found.append(str(keyword.value.value))
    assert len(found) > 15
    assert [one for one in found if not KEBAB.fullmatch(one)] == []


def shape() -> dict[str, Any]:
    """A report as a reader of the documents expects it, written by hand."""
    error = {
        "domain": "errno",
        "code": 98,
        "name": "EADDRINUSE",
        "message": "Address already in use",
        "reference": False,
    }
    return {
        "schema": 1,
        "version": "0.1.0",
        "context": {
            "platform": "linux",
            "kernel": "6.18.44",
            "observed_at": "2026-11-22T16:31:09.120Z",
            "boot_id": "2f3b6e0a-0c56-4f5c-9a64-2a1f6ad0b9a7",
            "euid": 1000,
            "capabilities": ["net_bind_service"],
            "network_namespace": 4026531840,
            "pid_namespace": 4026531836,
        },
        "results": [
            {
                "requested": "127.0.0.1:8080",
                "target": {
                    "text": "127.0.0.1:8080/tcp",
                    "family": "inet",
                    "type": "stream",
                    "protocol": "tcp",
                    "address": "127.0.0.1",
                    "port": 8080,
                    "scope_id": None,
                    "path": None,
                },
                "verdict": "blocked",
                "works_with": None,
                "attempt": {
                    "ok": False,
                    "native": True,
                    "step": "bind",
                    "argument": None,
                    "options": {
                        "reuse_address": None,
                        "reuse_port": None,
                        "exclusive": None,
                        "v6only": None,
                        "device": None,
                        "freebind": None,
                        "listen": False,
                    },
                    "error": error,
                    "bound": None,
                },
                "causes": [
                    {
                        "code": "listener",
                        "certainty": "certain",
                        "blockers": [0],
                        "summary": "python3 (pid 4121) listens there",
                        "evidence": ["its socket 127.0.0.1:8080 has the same address"],
                        "remedies": [
                            {
                                "action": "stop-holder",
                                "text": "stop it",
                                "command": ["kill", "4121"],
                                "tried": None,
                            }
                        ],
                    }
                ],
                "blockers": [
                    {
                        "kind": "listener",
                        "direction": None,
                        "overlap": "same-address",
                        "dual_stack": False,
                        "sharing": "not-requested",
                        "blocks": "yes",
                        "count": 1,
                        "release": {"how": "when-owner-closes", "after_ms": None},
                        "owner": {
                            "kind": "process",
                            "traits": ["service"],
                            "uid": 1000,
                            "cgroup": "/user.slice",
                            "unit": None,
                            "container": None,
                            "services": [],
                            "opener": None,
                            "processes": [
                                {
                                    "pid": 4121,
                                    "start_id": 172839,
                                    "fds": [3],
                                    "thread": None,
                                    "name": "python3",
                                    "command": ["python3", "-m", "http.server"],
                                    "command_truncated": False,
                                    "user": "ada",
                                    "started": "2026-11-22T16:31:05Z",
                                    "parent": 4000,
                                    "parent_name": "zsh",
                                    "state": "sleeping",
                                }
                            ],
                        },
                        "socket": {
                            "family": "inet",
                            "protocol": "tcp",
                            "state": "listen",
                            "local": {"address": "127.0.0.1", "port": 8080},
                            "remote": None,
                            "inode": 18846,
                            "cookie": "4f21",
                            "reuse_address": True,
                            "reuse_port": False,
                            "v6only": None,
                            "device": None,
                            "path": None,
                        },
                    }
                ],
                "trials": [
                    {
                        "changed": {"reuse_address": True},
                        "native": True,
                        "ok": False,
                        "step": "bind",
                        "error": error,
                    }
                ],
                "next_errors": [{"cause": "listener", "error": error, "blockers": [0]}],
                "warnings": [],
                "limits": [
                    {
                        "code": "processes-unreadable",
                        "text": "41 of 208 processes cannot be read by ada",
                    }
                ],
            }
        ],
    }


def test_documented_example_fits() -> None:
    fits(shape())


def keys_of(value: object, path: str = "") -> Iterator[str]:
    """The path of every key; elements of a list count as one."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield f"{path}.{name}"
            yield from keys_of(one, f"{path}.{name}")
    elif isinstance(value, list):
        for one in value:
            yield from keys_of(one, f"{path}[]")


@needs("socket tables")
@pytest.mark.usefixtures("network")
def test_real_answer_has_the_keys_of_the_documented_one(holder: Holder) -> None:
    port = holder.bind(listen=True)
    answer = printed(bindcheck.diagnose(f"127.0.0.1:{port}"))
    # What was changed is named freely, and of a list that is empty nothing is seen.
    free = [".results[].trials[].changed.", ".results[].next_errors[]"]
    if not answer["results"][0]["limits"]:
        free.append(".results[].limits[]")
    expected, found = set(keys_of(shape())), set(keys_of(answer))
    assert {one for one in expected ^ found if not one.startswith(tuple(free))} == set()


@needs("socket tables")
@pytest.mark.usefixtures("network")
class TestRealAnswersFit:
    """Each a situation of its own; `printed` compares it with the schema."""

    def test_free_port(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
        answer = printed(bindcheck.diagnose(f"127.0.0.1:{port}", listen=True))
        (one,) = answer["results"]
        assert (one["verdict"], one["causes"], one["blockers"]) == ("bindable", [], [])
        assert one["attempt"]["bound"] == {"address": "127.0.0.1", "port": port}

    def test_listener(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        answer = printed(bindcheck.diagnose(("127.0.0.1", port)))
        assert codes(answer) == [["listener"]]
        (blocker,) = answer["results"][0]["blockers"]
        assert blocker["socket"]["remote"] is None
        assert blocker["socket"]["inode"] == holder.inode()
        assert [one["pid"] for one in blocker["owner"]["processes"]] == [holder.pid]

    @needs("IPv6")
    def test_dual_stack_listener(self, holder: Holder) -> None:
        port = holder.bind("::", listen=True, v6only=False)
        answer = printed(bindcheck.diagnose(f"127.0.0.1:{port}"))
        assert answer["results"][0]["blockers"][0]["dual_stack"] is True

    def test_bound_only(self, holder: Holder) -> None:
        port = holder.bind()
        answer = printed(bindcheck.diagnose(f"127.0.0.1:{port}"))
        assert codes(answer) == [["bound"]]
        assert answer["results"][0]["blockers"][0]["socket"]["state"] == "close"

    def test_connection(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        with socket.create_connection(("127.0.0.1", port)) as client:
            answer = printed(bindcheck.diagnose(client.getsockname()))
        assert codes(answer) == [["outgoing-connection"]]
        remote = answer["results"][0]["blockers"][0]["socket"]["remote"]
        assert remote == {"address": "127.0.0.1", "port": port}

    @pytest.mark.parametrize("reuse_address", [False, True])
    def test_time_wait(self, holder: Holder, *, reuse_address: bool) -> None:
        port = holder.bind(listen=True, reuse_address=reuse_address)
        with socket.create_connection(("127.0.0.1", port)):
            holder.run("kept['child'], _ = kept['main'].accept()")
            holder.kill()
        answer = printed(bindcheck.diagnose(f"127.0.0.1:{port}"))
        (one,) = answer["results"]
        (blocker,) = one["blockers"]
        assert codes(answer) == [["time-wait"]]
        assert blocker["socket"]["inode"] is None
        assert blocker["owner"]["kind"] == "none"
        assert 0 < blocker["release"]["after_ms"] <= 60_000
        assert one["works_with"] == ({"reuse_address": True} if reuse_address else None)

    def test_datagram(self, holder: Holder) -> None:
        port = holder.bind(kind="udp")
        answer = printed(bindcheck.diagnose(f"127.0.0.1:{port}/udp"))
        (one,) = answer["results"]
        assert codes(answer) == [["datagram"]]
        assert (one["target"]["type"], one["target"]["protocol"]) == ("datagram", "udp")

    @needs("root")
    def test_privileged_port_with_a_listener_behind(self, holder: Holder) -> None:
        holder.bind(port=80, listen=True)
        answer = as_user(
            NOBODY, lambda: bindcheck.to_dict(bindcheck.diagnose("127.0.0.1:80"))
        )
        fits(answer)
        (one,) = answer["results"]
        assert codes(answer) == [["privileged-port"]]
        assert [following["cause"] for following in one["next_errors"]] == ["listener"]
        assert one["blockers"][0]["owner"]["kind"] == "hidden"
        assert {notice["code"] for notice in one["limits"]} >= {"processes-unreadable"}
        assert answer["context"]["euid"] == NOBODY
        assert answer["context"]["capabilities"] == []

    @needs("network namespaces")  # elsewhere a name server may let us wait
    def test_unresolved_name(self) -> None:
        answer = printed(bindcheck.diagnose("no-such-host.invalid:80", timeout=30))
        (one,) = answer["results"]
        assert codes(answer) == [["name-not-resolved"]]
        assert (one["target"]["address"], one["target"]["family"]) == (None, None)
        assert one["attempt"]["error"]["domain"] == "eai"

    def test_unfinished_lookup(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = threading.Event()
        monkeypatch.setattr(native, "resolve", lambda *_: asked.wait())
        answer = printed(bindcheck.diagnose("slow.example:80", timeout=0))
        asked.set()
        (one,) = answer["results"]
        assert (one["verdict"], one["attempt"]["native"]) == ("unknown", False)
        assert one["limits"][0]["code"] == "name-lookup-unfinished"

    def test_bare_port(self, holder: Holder) -> None:
        port = holder.bind(listen=True)
        answer = printed(bindcheck.diagnose(port))
        assert {one["requested"] for one in answer["results"]} == {str(port)}

    def test_port_zero(self) -> None:
        answer = printed(bindcheck.diagnose("127.0.0.1:0"))
        (one,) = answer["results"]
        assert one["target"]["port"] == 0
        assert one["attempt"]["bound"]["port"] > 0

    def test_address_of_another_machine(self) -> None:
        answer = printed(bindcheck.diagnose("192.0.2.77:8080"))
        assert codes(answer) == [["address-not-local"]]

    @needs("IPv6")
    def test_zone_that_is_no_interface(self) -> None:
        answer = printed(bindcheck.diagnose("[fe80::1%nowhere0]:8080"))
        assert codes(answer) == [[CauseCode.SCOPE_UNKNOWN]]

    def test_unknown_device(self) -> None:
        answer = printed(bindcheck.diagnose("127.0.0.1:0", device="nowhere0"))
        (one,) = answer["results"]
        assert codes(answer) == [[CauseCode.DEVICE_UNKNOWN]]
        assert one["attempt"]["argument"] == "SO_BINDTODEVICE"
        assert one["attempt"]["step"] == "setsockopt"

    @pytest.mark.parametrize("protocol", words.IP_PROTOCOLS)
    def test_protocol(self, protocol: str) -> None:
        answer = printed(bindcheck.diagnose("127.0.0.1:0", protocol=protocol))
        (one,) = answer["results"]
        assert one["target"]["protocol"] == protocol
        # Which protocols there are is the kernel's affair.
        missing = one["attempt"]["step"] == "socket"
        expected = [CauseCode.PROTOCOL_UNAVAILABLE] if missing else []
        assert codes(answer) == [expected]

    def test_several_targets(
        self, holder: Holder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        port = holder.bind(listen=True)
        status = run(["--json", f"127.0.0.1:{port}", "127.0.0.1:0", "127.0.0.1:0/udp"])
        answer = json.loads(capsys.readouterr().out)
        fits(answer)
        verdicts = [one["verdict"] for one in answer["results"]]
        assert verdicts == ["blocked", "bindable", "bindable"]
        assert status == 1

    def test_probe_verb(
        self, holder: Holder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        port = holder.bind(listen=True)
        run(["probe", "--json", f"127.0.0.1:{port}", "127.0.0.1:0/udp"])
        answer = json.loads(capsys.readouterr().out)
        probe = jsonschema.Draft202012Validator(
            {"$ref": "#/$defs/probe", "$defs": SCHEMA["$defs"]}
        )
        probe.validate(answer)
        assert [one["ok"] for one in answer["attempts"]] == [False, True]

    def test_explain_verb(
        self, holder: Holder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        port = holder.bind(listen=True)
        run(["explain", "--json", f"bind 127.0.0.1:{port}: EADDRINUSE"])
        answer = json.loads(capsys.readouterr().out)
        fits_part("explanation", answer)
        (result,) = answer["report"]["results"]
        assert result["causes"][0]["code"] == "listener"

    @pytest.mark.parametrize(
        ("part", "arguments"),
        [
            ("waited", ["wait", "--json", "--timeout", "0", "TARGET"]),
            ("waited", ["wait", "--json", "127.0.0.1:0"]),
            ("free_ports", ["free", "--json", "--count", "2"]),
            ("stopped", ["stop", "--json", "--dry-run", "TARGET"]),
            ("stopped", ["stop", "--json", "127.0.0.1:0"]),
            ("doctor", ["doctor", "--json"]),
            ("listing", ["list", "--json"]),
            ("listing", ["list", "--json", "--all", "PORT"]),
        ],
        ids=lambda one: " ".join(one) if isinstance(one, list) else one,
    )
    def test_other_verbs(
        self,
        holder: Holder,
        capsys: pytest.CaptureFixture[str],
        part: str,
        arguments: list[str],
    ) -> None:
        port = holder.bind(listen=True)
        given = {"TARGET": f"127.0.0.1:{port}", "PORT": str(port)}
        run([given.get(one, one) for one in arguments])
        fits_part(part, json.loads(capsys.readouterr().out))


@needs("network namespaces", "socket tables")
def test_exhausted_port_range_fits(network: bool, holder: Holder) -> None:
    assert network
    setting = Path("/proc/sys/net/ipv4/ip_local_port_range")
    setting.write_text("40000 40001")
    # The kernel keeps to even or odd ports first; both are taken here.
    for port in (40000, 40001):
        holder.bind("0.0.0.0", port, name=str(port))  # noqa: S104
    answer = printed(bindcheck.diagnose("127.0.0.1:0"))
    assert codes(answer) == [[CauseCode.EPHEMERAL_PORTS_EXHAUSTED]]


@needs("network namespaces", "socket tables", "IPv6")
def test_switched_off_ipv6_fits(network: bool) -> None:
    assert network
    for name in ("all", "lo"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    answer = printed(bindcheck.diagnose("[::1]:0"))
    assert codes(answer) == [[CauseCode.FAMILY_DISABLED]]


def test_answer_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """No terminal is harmed by what other users wrote into their names."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        run(["--json", "127.0.0.1:0"])
    assert out.getvalue().isascii()
    assert capsys.readouterr().err == ""


def make_report(name: str) -> bindcheck.Report:
    """A bindable report, requested as `name`."""
    report = bindcheck.diagnose("127.0.0.1:0")
    (one,) = report.results
    return bindcheck.Report(
        context=report.context,
        results=(
            model.Diagnosis(
                requested=name,
                target=one.target,
                attempt=one.attempt,
                verdict=one.verdict,
            ),
        ),
    )


@pytest.mark.parametrize("name", ["\x1b[31m", "a\nb", "\u202e", "\U0001f600", "\udc80"])
def test_foreign_text_is_escaped_and_comes_back(name: str) -> None:
    text = jsonform.dumps(make_report(name))
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text)["results"][0]["requested"] == name


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1795365069.12, "2026-11-22T16:31:09.120Z"),
        (1795365069.9996, "2026-11-22T16:31:09.999Z"),
    ],
)
def test_observed_at_is_utc_with_milliseconds(seconds: float, expected: str) -> None:
    assert jsonform.timestamp(seconds, milliseconds=True) == expected
