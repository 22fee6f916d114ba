"""The JSON form of a report: one object, every key always present, null for unknown.

Readers must tolerate keys and words that they do not know. `schema` is raised only when
something that was there changes.
"""

from __future__ import annotations

import time

from bindcheck._version import __version__

TYPE_CHECKING = False  # the module typing would cost 5 ms at every start
if TYPE_CHECKING:
    from typing import Any

    from bindcheck.model import (
        Attempt,
        Blocker,
        Cause,
        Context,
        Diagnosis,
        Endpoint,
        NativeCode,
        Notice,
        Options,
        Owner,
        Process,
        Remedy,
        Report,
        Socket,
        Target,
        Trial,
    )

SCHEMA = 1


def to_dict(report: Report) -> dict[str, Any]:
    """Turn a report into plain dictionaries, lists, numbers and texts."""
    form = {
        "schema": SCHEMA,
        "version": __version__,
        "context": context_to_dict(report.context),
        "results": [_diagnosis(one) for one in report.results],
    }
    if report.reported is not None:
        form["reported"] = _error(report.reported)
    return form


def dumps(report: Report) -> str:
    """Write a report as JSON text, ASCII only, so that no terminal is harmed."""
    import json

    return json.dumps(to_dict(report), indent=2)


def timestamp(seconds: float | None, *, milliseconds: bool = False) -> str | None:
    """Write seconds since the epoch as UTC, ISO 8601."""
    if seconds is None:
        return None
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{int(seconds * 1000) % 1000:03}Z" if milliseconds else f"{text}Z"


def context_to_dict(context: Context) -> dict[str, Any]:
    """Turn a context into a dictionary."""
    return {
        "platform": context.platform,
        "kernel": context.kernel,
        "observed_at": timestamp(context.observed_at, milliseconds=True),
        "boot_id": context.boot_id,
        "euid": context.euid,
        "capabilities": list(context.capabilities),
        "network_namespace": context.network_namespace,
        "pid_namespace": context.pid_namespace,
    }


def _diagnosis(one: Diagnosis) -> dict[str, Any]:
    return {
        "requested": one.requested,
        "target": target_to_dict(one.target),
        "verdict": str(one.verdict),
        "works_with": dict(one.works_with) if one.works_with is not None else None,
        "attempt": _attempt(one.attempt),
        "causes": [_cause(cause) for cause in one.causes],
        "blockers": [_blocker(blocker) for blocker in one.blockers],
        "trials": [_trial(trial) for trial in one.trials],
        "next_errors": [
            {
                "cause": str(following.cause),
                "error": _error(following.error),
                "blockers": list(following.blockers),
            }
            for following in one.next_errors
        ],
        "warnings": [notice_to_dict(notice) for notice in one.warnings],
        "limits": [notice_to_dict(notice) for notice in one.limits],
    }


def target_to_dict(target: Target) -> dict[str, Any]:
    """Turn a target into plain data."""
    return {
        "text": target.text,
        "family": _word(target.family),
        "type": str(target.protocol.type),
        "protocol": str(target.protocol),
        "address": target.address,
        "port": target.port,
        "scope_id": target.scope_id,
        "path": target.path,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "ok": attempt.ok,
        "native": attempt.native,
        "step": _word(attempt.step),
        "argument": attempt.argument,
        "options": _options(attempt.options),
        "error": _error(attempt.error),
        "bound": _endpoint(attempt.bound),
    }


def _options(options: Options) -> dict[str, Any]:
    return {
        "reuse_address": options.reuse_address,
        "reuse_port": options.reuse_port,
        "exclusive": options.exclusive,
        "v6only": options.v6only,
        "device": options.device,
        "freebind": options.freebind,
        "listen": options.listen,
    }


def _error(error: NativeCode | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "domain": str(error.domain),
        "code": error.code,
        "name": error.name,
        "message": error.message,
        "reference": error.reference,
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "code": str(cause.code),
        "certainty": str(cause.certainty),
        "blockers": list(cause.blockers),
        "summary": cause.summary,
        "evidence": list(cause.evidence),
        "remedies": [remedy_to_dict(remedy) for remedy in cause.remedies],
    }


def remedy_to_dict(remedy: Remedy) -> dict[str, Any]:
    """Turn a remedy into plain data."""
    return {
        "action": remedy.action,
        "text": remedy.text,
        "command": list(remedy.command) if remedy.command is not None else None,
        "tried": remedy.tried,
    }


def _blocker(blocker: Blocker) -> dict[str, Any]:
    return {
        "kind": str(blocker.kind),
        "direction": _word(blocker.direction),
        "overlap": str(blocker.overlap),
        "dual_stack": blocker.dual_stack,
        "sharing": str(blocker.sharing),
        "blocks": str(blocker.blocks),
        "count": blocker.count,
        "release": {
            "how": str(blocker.release.how),
            "after_ms": blocker.release.after_ms,
        },
        "owner": owner_to_dict(blocker.owner),
        "socket": socket_to_dict(blocker.socket),
    }


def owner_to_dict(owner: Owner) -> dict[str, Any]:
    """Turn an owner into a dictionary."""
    return {
        "kind": str(owner.kind),
        "traits": [str(trait) for trait in owner.traits],
        "uid": owner.uid,
        "cgroup": owner.cgroup,
        "unit": owner.unit,
        "container": owner.container,
        "services": list(owner.services),
        "opener": owner.opener,
        "processes": [process_to_dict(process) for process in owner.processes],
    }


def process_to_dict(process: Process) -> dict[str, Any]:
    """Turn a process into plain data."""
    return {
        "pid": process.pid,
        "start_id": process.start_id,
        "fds": list(process.fds),
        "thread": process.thread,
        "name": process.name,
        "command": list(process.command),
        "command_truncated": process.command_truncated,
        "user": process.user,
        "started": timestamp(process.started),
        "parent": process.parent,
        "parent_name": process.parent_name,
        "state": process.state,
    }


def socket_to_dict(socket: Socket) -> dict[str, Any]:
    """Turn a row into a dictionary, without its owner."""
    return {
        "family": str(socket.family),
        "protocol": str(socket.protocol),
        "state": str(socket.state),
        "local": _endpoint(socket.local) if socket.path is None else None,
        "remote": _endpoint(socket.remote),
        "inode": socket.inode or None,
        "cookie": f"{socket.cookie:x}" if socket.cookie is not None else None,
        "reuse_address": socket.reuse_address,
        "reuse_port": socket.reuse_port,
        "v6only": socket.v6only,
        "device": socket.device or None,
        "path": socket.path,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "changed": dict(trial.changed),
        "native": trial.native,
        "ok": trial.ok,
        "step": _word(trial.step),
        "error": _error(trial.error),
    }


def notice_to_dict(notice: Notice) -> dict[str, Any]:
    """Turn a notice into a dictionary."""
    return {"code": notice.code, "text": notice.text}


def _endpoint(endpoint: Endpoint | None) -> dict[str, Any] | None:
    if endpoint is None:
        return None
    return {"address": endpoint.address, "port": endpoint.port}


def _word(word: object) -> str | None:
    return None if word is None else str(word)


def attempt_to_dict(attempt: Attempt) -> dict[str, Any]:
    """Turn one attempt into a dictionary, as the verb `probe` prints it."""
    return {"target": target_to_dict(attempt.target), **_attempt(attempt)}
