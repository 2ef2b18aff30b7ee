"""The commands about serving: `serve`, `keys`, `backup` and `restore`."""

import contextlib
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from shoptalk.cli.options import Json, show
from shoptalk.errors import InputError

commands = typer.Typer()
Run = Annotated[Path, typer.Argument(help="The folder of a finished run.")]
Db = Annotated[str | None, typer.Option(help="A database's URL; otherwise RUN/serve.db.")]


@commands.command()
def serve(
    run: Run,
    host: Annotated[str, typer.Option(help="The address to listen at; a public one needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    db: Db = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML: \\[assistant] and \\[serve]; else RUN/assistant.toml.")
    ] = None,
) -> None:
    """Serve the assistant of a run over HTTP, from its folders alone."""
    from shoptalk.serve.server import serve as serve_run

    tell = partial(typer.echo, err=True)
    with contextlib.suppress(KeyboardInterrupt):  # which is how it is ended, and not an interruption of anything
        serve_run(run, host=host, port=port, db=db, config=config, tell=tell)
    tell("Stopped; conversations and knowledge are stored.")


@commands.command()
def keys(
    run: Run,
    add: Annotated[str | None, typer.Option(help="Make a key of this name; it is shown this once.")] = None,
    scopes: Annotated[
        str, typer.Option(help="Of the new key: chat, agent, knowledge, admin; comma-separated.")
    ] = "chat",
    revoke: Annotated[str | None, typer.Option(help="The id of a key that is to open nothing any more.")] = None,
    site: Annotated[str, typer.Option(help="The site of the key; made where it is not there.")] = "main",
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="A web origin from which the site's visitors may call, such as https://example.com; again for more."
        ),
    ] = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Keys and sites: list them, make them, revoke them."""
    from shoptalk.serve.keyring import change_keys

    if add is not None and revoke is not None:
        raise InputError("Give --add or --revoke, not both.")
    names = tuple(part.strip() for part in scopes.split(",") if part.strip())
    result = change_keys(run, db, add=add, scopes=names, revoke=revoke, site=site, origins=origin)
    show(result, as_json, lambda: _keys_as_text(result))


def _keys_as_text(result: dict[str, Any]) -> str:
    lines = []
    if "key" in result:
        lines += [f"The new key, which is shown this once: {result['key']}", ""]
    for site in result["sites"]:
        lines.append(
            f"site {site['id']}: public key {site['public_key']}, origins {', '.join(site['origins']) or 'none'}"
        )
        lines += [
            f"  {key['id']}  {key['name']}  {','.join(key['scopes'])}{'  revoked' if key['revoked'] else ''}"
            for key in site["keys"]
        ]
    return "\n".join(lines)


@commands.command()
def backup(
    run: Run, out: Annotated[Path, typer.Option(help="The zip file to write.")], db: Db = None, as_json: Json = False
) -> None:
    """Copy conversations, knowledge, assistant.toml, rules and logo of a run into one file, also while it is served."""
    from shoptalk.serve.backups import back_up

    result = back_up(run, out, url=db)
    for name in result["left_out"]:
        typer.echo(f"left out: {name}, which assistant.toml names outside the run. Keep a copy of it.", err=True)
    show(result, as_json, lambda: f"{out}: {result['files']} files, {result['bytes']:,} bytes")


@commands.command()
def restore(
    run: Run,
    file: Annotated[Path, typer.Argument(help="What `shoptalk backup` wrote.")],
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Put a backup back into a run that is not being served; what was there stays beside it."""
    from shoptalk.serve.backups import put_back

    result = put_back(run, file, url=db)
    show(result, as_json, lambda: f"{run}: restored {result['restored']} parts; what was there is *.before-restore")
