"""Keys and sites from the command line, on the database itself: also before the first start, and while one serves."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shoptalk.errors import InputError
from shoptalk.readback import refuse_no_folder
from shoptalk.serve.access import KEY_NAME, SITE_NAME, make_key, revoke_key, web_origin
from shoptalk.serve.backups import DATABASE
from shoptalk.serve.database import Database, new_site, sqlite_url
from shoptalk.serve.rows import KeyRow, SiteRow


def change_keys(
    run: Path,
    db: str | None,
    *,
    add: str | None,
    scopes: Sequence[str],
    revoke: str | None,
    site: str,
    origins: Sequence[str] | None,
) -> dict[str, Any]:
    """Make or revoke a key, set a site's origins; then all that is there, and the new key.

    Raises:
        InputError: there is no such run or key, or a name, scope or origin is wrong.
    """
    if db is None:
        refuse_no_folder(run)
    if not re.fullmatch(SITE_NAME, site):
        raise InputError(
            f"{site!r} is no name for a site. Give small letters, digits and hyphens, at most 40, such as 'shop-2'."
        )
    if add is not None and not re.fullmatch(KEY_NAME, add):
        raise InputError(f"{add!r} is no name for a key. Give letters, digits and . _ @ -, at most 80, such as 'desk'.")
    origins = [web_origin(origin) for origin in origins or ()]

    def change(session: Session) -> dict[str, Any]:
        row = session.get(SiteRow, site)
        if row is None and (add is not None or origins):
            row = new_site(site, site, ())
            session.add(row)
            session.flush()
        if row is not None and origins:
            row.origins = list(origins)
        key = make_key(session, site, add, scopes)[1] if add is not None else None
        if revoke is not None and not revoke_key(session, revoke):
            raise InputError(f"There is no key with the id {revoke!r}. `shoptalk keys {run}` lists them.")
        session.flush()
        listed = _listed(session)
        return listed if key is None else {**listed, "key": key}

    database = Database(db or sqlite_url(run / DATABASE))
    try:
        return database.write_now(change)
    finally:
        database.close()


def _listed(session: Session) -> dict[str, Any]:
    keys = session.scalars(select(KeyRow).order_by(KeyRow.created)).all()
    return {
        "sites": [
            {
                "id": row.id,
                "public_key": row.public_key,
                "origins": row.origins,
                "keys": [
                    {"id": key.id, "name": key.name, "scopes": key.scopes, "revoked": key.revoked is not None}
                    for key in keys
                    if key.site_id == row.id
                ],
            }
            for row in session.scalars(select(SiteRow).order_by(SiteRow.id))
        ]
    }
