// The published systems behind polyvec: a list that is searched with the same engine.

import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../api";
import { plural } from "../format";
import { Icon } from "../icons";
import { useRemote } from "../remote";
import { formatRoute, navigate, type Route } from "../route";
import type { SystemRow } from "../types";
import { Notice, Problem, Segments, Waiting } from "../ui";
import { SystemDetailView } from "./detail";

const TYPING_MS = 350;
type Shown = "all" | "working" | "planned";

function Box({ route }: { route: Route }) {
  const [text, setText] = useState(route.systems);
  const timer = useRef(0);
  const typed = useRef(route.systems);
  useEffect(() => {
    if (route.systems !== typed.current) setText((typed.current = route.systems));
  }, [route.systems]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const ask = (value: string) => {
    typed.current = value.trim();
    navigate({ systems: value.trim() }, { replace: true });
  };
  return (
    <form class="search-box" role="search" onSubmit={(event) => { event.preventDefault(); clearTimeout(timer.current); ask(text); }}>
      <div class="search-line">
        <Icon name="search" />
        <input data-search-box type="search" aria-label="Search the systems" placeholder="What should it do? For example: smaller vectors" value={text} maxLength={500}
          autocomplete="off" spellcheck={false} onInput={(event) => {
            const { value } = event.currentTarget;
            setText(value);
            clearTimeout(timer.current);
            timer.current = window.setTimeout(() => ask(value), TYPING_MS);
          }} />
        <kbd class="hint" aria-hidden="true">/</kbd>
      </div>
    </form>
  );
}

export function VerdictBadge({ row }: { row: Pick<SystemRow, "status" | "verdict"> }) {
  if (row.verdict) {
    const [held, all] = row.verdict.match(/\d+/g)?.map(Number) ?? [];
    return <span class={`status ${held !== undefined && held === all ? "ok" : "warn"}`}>{row.verdict}</span>;
  }
  return <span class="status not-computed">{row.status}</span>;
}

export function SystemsPage({ route }: { route: Route }) {
  const [shown, setShown] = useState<Shown>("all");
  const { data, problem, reload } = useRemote(`systems ${route.systems}`, (signal) => get<{ systems: SystemRow[] }>("api/systems", { q: route.systems }, signal));
  if (route.slug) return <SystemDetailView slug={route.slug} route={route} />;
  const rows = data?.systems.filter((row) => shown === "all" || row.status === shown) ?? [];
  if (!route.systems) rows.sort((a, b) => Number(b.verdict !== null) - Number(a.verdict !== null)); // the measured ones first
  return (
    <div class="report systems">
      <h1>Systems</h1>
      <p class="lead">Published methods that polyvec is built from. What counts as holding was written down before each run, and a claim that does not hold says so.</p>
      <div class="systems-top">
        <Box route={route} />
        <Segments label="Which systems" value={shown} onChange={setShown} options={[{ value: "all", label: "All" }, { value: "working", label: "Working" }, { value: "planned", label: "Planned" }]} />
      </div>
      {problem && !data && <Problem problem={problem} retry={reload} />}
      {!data && !problem && <Waiting what="Reading the registry…" />}
      {data && <p class="outcome" role="status">{plural(rows.length, "system")}{route.systems && ", closest first"}</p>}
      {data && rows.length === 0 && <Notice title="No system"><p>None of this kind is known.</p></Notice>}
      <ul class="system-list">
        {rows.map((row) => (
          <li key={row.slug}>
            <a data-hit href={formatRoute({ ...route, slug: row.slug, doc: "" })}>
              <strong>{row.title}</strong>
              <VerdictBadge row={row} />
              <span class="full-title">{row.full_title}</span>
              <span class="muted">{row.place} · {row.year}</span>
            </a>
          </li>
        ))}
      </ul>
    </div>
  );
}
