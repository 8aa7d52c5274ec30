"""Subcommands of `ai102 release`: from build to notes, judge, promote, rollback, abort, and key."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ai102.cli import judging
from ai102.cli.engine import CONTRACT, ContractFile
from ai102.errors import UserError

if TYPE_CHECKING:
    from ai102.release.envelope import Envelope
    from ai102.release.keys import Signer
    from ai102.release.promotion import Promotion
    from ai102.release.store import Store

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
key_app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(key_app, name="key", help="Keys that sign releases: new.")

Folder = Annotated[Path, typer.Option("--store", help="The folder of releases.", envvar="AI102_RELEASES")]
HistoryUrl = Annotated[
    str,
    typer.Option("--history", help="sqlite:///FILE; default: history.db in the store.", envvar="AI102_RELEASE_HISTORY"),
]
Keys = Annotated[
    Path, typer.Option("--keys", help="The folder of public keys that count.", envvar="AI102_RELEASE_KEYS")
]
PrivateKey = Annotated[
    Path | None, typer.Option("--key", help="The private key to sign with.", envvar="AI102_RELEASE_KEY")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of lines.")]
Name = Annotated[str, typer.Argument(help="A release, by its name or the unique beginning of it.")]
Why = Annotated[str, typer.Option(help="The reason, for the history.")]
TimeoutS = Annotated[
    float | None,
    typer.Option("--timeout-s", help="Until all its pods are ready; default: 300, or 1800 with a canary.", min=1),
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Where the overlay was applied.")]
Context = Annotated[str, typer.Option(help="Of the kubeconfig; default: its current one.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="Default: as kubectl finds it.")]
STORE = Path("build/releases")
KEYS = Path("release-keys")
QUESTION_S = 10.0  # that the cluster has for each question


@app.command()
def build(
    server: Annotated[str, typer.Option(help="The server image, as NAME@sha256:...")] = "",
    models: Annotated[str, typer.Option(help="The models image, as NAME@sha256:...")] = "",
    pushed: Annotated[
        Path | None, typer.Option(help="A file with what `ai102 image push` printed, for images not named.")
    ] = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    key: PrivateKey = None,
    contract: ContractFile = CONTRACT,
    store: Folder = STORE,
    history: HistoryUrl = "",
    keys: Keys = KEYS,
) -> None:
    """Write a release of two images and what the model repository serves; prints its name."""
    from ai102.release import references
    from ai102.release.document import Images
    from ai102.release.envelope import Built
    from ai102.release.gathering import gathered
    from ai102.release.keys import signer

    from_file = references.pushed(pushed) if pushed else ("", "")
    server, models = server or from_file[0], models or from_file[1]
    if not server or not models:
        missing = "--server" if not server else "--models"
        raise UserError(
            f"{missing} is missing: write NAME@sha256:..., or --pushed FILE with what `ai102 image push` printed"
        )
    images = Images(server=references.by_digest(server, "--server"), models=references.by_digest(models, "--models"))
    by = signer(key) if key else None
    gotten = gathered(contract, images)
    built = Built(at=_now(), by=_me(), note=_in_one_line(note), is_checked=gotten.is_checked)
    envelope, is_new = _store(store, history, keys).add(gotten.release, built, by)
    if not is_new:
        _say(f"{envelope.name} was built before, {envelope.built.at} by {envelope.built.by}: it stays as it is")
    elif not gotten.is_checked:
        image = references.short(images.models)
        _say(f"{image} is not in build/images/models: whether it holds these models was not checked")
    typer.echo(envelope.name)


@app.command()
def sign(
    name: Name, key: PrivateKey = None, store: Folder = STORE, history: HistoryUrl = "", keys: Keys = KEYS
) -> None:
    """Add the signature of a private key."""
    from ai102.release.keys import signer

    by = _signer(key, signer)
    kept = _store(store, history, keys)
    envelope, is_new = kept.sign(name, by, _now(), _me())
    typer.echo(f"{envelope.name}: {'signed' if is_new else 'was signed before'} with key {by.key_id}")
    if by.key_id not in kept.known:
        _say(f"{by.key_id} is not in {keys}: copy its .pub file there, so that its signatures count")


@app.command()
def verify(name: Name, store: Folder = STORE, history: HistoryUrl = "", keys: Keys = KEYS) -> None:
    """Say who signed a release; exit 2 where no known key did."""
    from ai102.release.trust import trusted
    from ai102.release.words import signer as words_of

    kept = _store(store, history, keys)
    envelope = kept.get(name)
    for each in trusted(envelope, kept.known, keys):
        typer.echo(f"{envelope.name}: signed {words_of(each.key, each.by, each.at, kept.known)}")


@app.command("list")
def list_releases(as_json: AsJson = False, store: Folder = STORE, history: HistoryUrl = "", keys: Keys = KEYS) -> None:
    """All releases, the oldest first, a line each; exit 2 where a file is none that ai102 wrote."""
    from ai102.release import standing, words

    kept = _store(store, history, keys)
    envelopes, problems = kept.all()
    events = kept.history.events()
    states = {each.name: standing.state(each, events, kept.known) for each in envelopes}
    if as_json:
        typer.echo(json.dumps([_row(each, states[each.name]) for each in envelopes], ensure_ascii=False, indent=1))
    elif envelopes:
        head = ("NAME", "BUILT", "BY", "STATE", "IMAGES", "NOTE")
        typer.echo("\n".join(words.columns([head, *(words.row(each, states[each.name]) for each in envelopes)])))
    else:
        _say(f"no release in {store}: `ai102 release build` writes one")
    if problems:
        raise UserError("\n".join(problems))


@app.command()
def show(
    name: Name,
    as_json: AsJson = False,
    kustomize: Annotated[bool, typer.Option("--kustomize", help="Its images alone, as an overlay lists them.")] = False,
    store: Folder = STORE,
    history: HistoryUrl = "",
    keys: Keys = KEYS,
) -> None:
    """All of a release, and its history."""
    from ai102.release import standing, words

    kept = _store(store, history, keys)
    envelope = kept.get(name)
    if kustomize:
        typer.echo("\n".join(words.kustomization(envelope)))
        return
    all_events = kept.history.events()
    state = standing.state(envelope, all_events, kept.known)
    events = [each for each in all_events if envelope.name in (each.release, each.detail.get("to"))]
    if as_json:
        facts = {
            **_row(envelope, state),
            "sha256": envelope.release.sha256,
            "built": envelope.built.model_dump(),
            "signatures": [each.model_dump() for each in envelope.signatures],
            "release": envelope.release.raw,
            "history": [each.as_dict() for each in events],
        }
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=1))
    else:
        typer.echo("\n".join(words.page(envelope, state, events, kept.known)))


@app.command()
def diff(
    old: Name, new: Name, as_json: AsJson = False, store: Folder = STORE, history: HistoryUrl = "", keys: Keys = KEYS
) -> None:
    """What changes for callers (exit 1 if anything is incompatible)."""
    from ai102.release import changes, words

    kept = _store(store, history, keys)
    before, after = kept.get(old), kept.get(new)
    found = changes.changes(before.release.document, after.release.document)
    broken = changes.breaking(found)
    if as_json:
        facts = {
            "old": before.name,
            "new": after.name,
            "is_compatible": not broken,
            "changes": [each.as_dict() for each in found],
            "how_to_ship": changes.how_to_ship(broken),
        }
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=1))
    else:
        typer.echo("\n".join(words.difference(before.name, after.name, found)))
        if broken:
            typer.echo(f"to ship it: {changes.how_to_ship(broken)}")
    raise typer.Exit(1 if broken else 0)


@app.command("notes")
def notes_of(
    name: Name,
    since: Annotated[str, typer.Option(help="A release to compare with; default: the last other one in service.")] = "",
    store: Folder = STORE,
    history: HistoryUrl = "",
    keys: Keys = KEYS,
) -> None:
    """Release notes in Markdown: what it is, and what changes for callers."""
    from ai102.release import notes

    kept = _store(store, history, keys)
    envelope = kept.get(name)
    names = [each.name for each in kept.all()[0]]
    old = since or notes.last_in_service(kept.history.events(), envelope.name, names)
    typer.echo("\n".join(notes.notes(envelope, kept.get(old) if old else None, kept.known)))


app.command()(judging.judge)


@app.command()
def promote(
    name: Name,
    without: Annotated[
        list[str] | None, typer.Option(help="A model that nobody asks for any more and that may go.", metavar="MODEL")
    ] = None,
    back: Annotated[
        bool, typer.Option("--back", help="Return to what ran before where its pods are not ready in time.")
    ] = False,
    why: Why = "",
    timeout_s: TimeoutS = None,
    namespace: Namespace = "ai102",
    context: Context = "",
    kubeconfig: Kubeconfig = None,
    store: Folder = STORE,
    history: HistoryUrl = "",
    keys: Keys = KEYS,
) -> None:
    """Put a signed release into service (exit 1: callers would fail, 4: not ready in time, 5: refused as a canary)."""
    from ai102.release.rollout import NotReadyError

    promotion = _promotion((namespace, context, kubeconfig), _store(store, history, keys), keys, why, timeout_s)
    try:
        promoted = promotion.promote(name, without or ())
    except NotReadyError as err:
        if not back:
            raise
        _say(f"ai102: {err}")
        _say(f"{promotion.abort()} is in service in {promotion.cluster.place} again")
        raise typer.Exit(err.exit_status) from err
    typer.echo(f"{promoted} is in service in {promotion.cluster.place}")


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="A release; default: the one before.", metavar="[NAME]")] = "",
    why: Why = "",
    timeout_s: TimeoutS = None,
    namespace: Namespace = "ai102",
    context: Context = "",
    kubeconfig: Kubeconfig = None,
    store: Folder = STORE,
    history: HistoryUrl = "",
    keys: Keys = KEYS,
) -> None:
    """Return to an earlier signed release (exit 4 if its pods are not ready in time)."""
    promotion = _promotion((namespace, context, kubeconfig), _store(store, history, keys), keys, why, timeout_s)
    typer.echo(f"{promotion.rollback(name)} is in service in {promotion.cluster.place}")


@app.command()
def abort(
    why: Why = "",
    timeout_s: TimeoutS = None,
    namespace: Namespace = "ai102",
    context: Context = "",
    kubeconfig: Kubeconfig = None,
    store: Folder = STORE,
    history: HistoryUrl = "",
    keys: Keys = KEYS,
) -> None:
    """End a rollout that goes on: what ran before it comes back."""
    promotion = _promotion((namespace, context, kubeconfig), _store(store, history, keys), keys, why, timeout_s)
    typer.echo(f"{promotion.abort()} is in service in {promotion.cluster.place}")


@key_app.command("new")
def key_new(out: Annotated[Path, typer.Option(help="The file of the private key.", metavar="FILE")]) -> None:
    """Make an Ed25519 key: the private file, and the public one beside it with .pub at its end."""
    from ai102.release import keys

    signer = keys.new(out)
    typer.echo(f"{out}: key {signer.key_id}; keep it secret")
    typer.echo(f"{keys.public_file(out)}: copy it to {KEYS}/ wherever releases are promoted")


def _store(folder: Path, history: str, keys: Path) -> Store:
    from ai102.release.history import opened
    from ai102.release.keys import known
    from ai102.release.store import Store

    return Store(folder, opened(history, folder), known(keys))


def _promotion(
    where: tuple[str, str, Path | None], store: Store, keys: Path, why: str, timeout_s: float | None
) -> Promotion:
    """`where` is namespace, context and kubeconfig."""
    from ai102.cluster.asking import kubectl_for
    from ai102.release.promotion import Promotion
    from ai102.release.rollout import Cluster, context_of

    namespace, context, kubeconfig = where
    kubectl = kubectl_for(namespace, context, kubeconfig, QUESTION_S)
    cluster = Cluster(kubectl, context_of(kubectl, context), _say)
    return Promotion(cluster, store, keys, _me(), _now, _in_one_line(why), timeout_s)


def _signer(key: Path | None, load: Any) -> Signer:
    if key is None:
        raise UserError("--key is missing: name the file of a private key, or set AI102_RELEASE_KEY")
    signer: Signer = load(key)
    return signer


def _row(envelope: Envelope, state: str) -> dict[str, Any]:
    return {
        "name": envelope.name,
        "at": envelope.built.at,
        "by": envelope.built.by,
        "state": state,
        "images": envelope.release.document.images.model_dump(),
        "note": envelope.built.note,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _me() -> str:
    import getpass
    import os

    if who := os.environ.get("AI102_WHO"):  # in a pipeline, whose own user is everybody's
        return _in_one_line(who)
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return f"uid {os.getuid()}"


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _say(line: str) -> None:
    typer.echo(line, err=True)
