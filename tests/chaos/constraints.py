"""Whether every row keeps the law of its table: each constraint is looked at again, by the database itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.chaos.stage import Stage

_CHECKS = """
    SELECT conrelid::regclass::text, conname, pg_get_expr(conbin, conrelid), convalidated
    FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"""
_REFERENCES = """
    SELECT c.conname, c.conrelid::regclass::text, c.confrelid::regclass::text, c.convalidated,
           string_agg(format('child.%I = parent.%I', a.attname, b.attname), ' AND '),
           string_agg(format('child.%I IS NOT NULL', a.attname), ' AND ')
    FROM pg_constraint c CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS k (child, parent)
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.child
    JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.parent
    WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace GROUP BY c.oid"""
_INDEXES = """
    SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
    WHERE relnamespace = 'public'::regnamespace AND NOT (indisvalid AND indisready)"""
#: What no constraint can say, since it is about several rows.
_LAWS = {
    "a task is two submissions'": "SELECT task_id FROM submissions WHERE task_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1",
    "a key names two jobs": """
        SELECT tenant, idempotency_key FROM jobs WHERE idempotency_key IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1""",
    "a job was retried twice": "SELECT retry_of FROM jobs WHERE retry_of IS NOT NULL GROUP BY 1 HAVING count(*) > 1",
    "the submissions are not numbered from 1 to the job's own": """
        SELECT j.job_id FROM jobs j LEFT JOIN submissions s ON s.job_id = j.job_id
        GROUP BY j.job_id, j.submission HAVING count(s.number) <> j.submission OR coalesce(max(s.number), 0) <> j.submission""",
    "a settled job says so not exactly once": """
        SELECT j.job_id FROM jobs j LEFT JOIN events e ON e.job_id = j.job_id
          AND e.type IN ('succeeded', 'failed', 'canceled')
        WHERE j.completed_via IS DISTINCT FROM 'reuse'
        GROUP BY j.job_id, j.finished_at HAVING count(e.type) <> (CASE WHEN j.finished_at IS NULL THEN 0 ELSE 1 END)""",
    "a job sent may not be looked at again": """
        SELECT s.job_id, s.number FROM submissions s JOIN jobs j ON j.job_id = s.job_id
        WHERE s.outcome = 'open' AND s.due_at IS NULL AND j.state <> 'running'""",
}


def broken_constraints(stage: Stage) -> Iterator[str]:
    yield from _sqlite(stage) if stage.is_sqlite else _postgresql(stage)
    for law, query in _LAWS.items():
        if rows := stage.rows(query):
            yield f"{law}: {rows[:10]}"


def _sqlite(stage: Stage) -> Iterator[str]:
    for pragma in ("integrity_check", "foreign_key_check"):  # the first looks at CHECK and NOT NULL too
        rows = stage.rows(f"PRAGMA {pragma}")
        if rows not in ([("ok",)], []):
            yield f"{pragma}: {rows[:10]}"


def _postgresql(stage: Stage) -> Iterator[str]:
    checks, references = stage.rows(_CHECKS), stage.rows(_REFERENCES)
    assert checks, "there are constraints to look at"
    assert references
    for table, name, law, valid in checks:
        yield from _told(name, valid, stage.rows(f"SELECT * FROM {table} WHERE NOT ({law}) LIMIT 10"))
    for name, child, parent, valid, same, given in references:
        orphans = f"SELECT * FROM {child} child WHERE {given} AND NOT EXISTS (SELECT 1 FROM {parent} parent WHERE {same})"
        yield from _told(name, valid, stage.rows(f"{orphans} LIMIT 10"))
    yield from (f"index {name} is not valid" for (name,) in stage.rows(_INDEXES))


def _told(name: str, valid: bool, rows: list[tuple[Any, ...]]) -> Iterator[str]:
    if not valid or rows:
        yield f"constraint {name} is {'broken by' if rows else 'not validated'} {rows}"
