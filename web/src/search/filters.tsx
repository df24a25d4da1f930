// Filters from the metadata's columns: values to check with their counts, ranges for numbers, and the raw condition.

import { useEffect, useState } from "preact/hooks";
import { get, type ApiProblem } from "../api";
import { count, short } from "../format";
import { useRemote } from "../remote";
import { navigate, type Route } from "../route";
import type { Facet, Info, Kind, RangeFacet, Scalar, ValueFacet } from "../types";
import { filterCount } from "../where";
import { Button } from "../ui";

const OPEN_AT_START = 3;
const COLUMNS_AT_START = 8;
const OWN_COLUMNS = new Set(["id", "title", "text", "origin"]); // the store's: nothing to choose from
const VALUES_AT_START = 8;
const VALUES = 30;

function toggle(route: Route, column: string, value: Scalar, on: boolean) {
  const text = JSON.stringify(value);
  const kept = (route.values[column] ?? []).filter((known) => known !== text);
  const values = { ...route.values, [column]: on ? [...kept, text] : kept };
  navigate({ values });
}

function Values({ facet, route }: { facet: ValueFacet; route: Route }) {
  const [all, setAll] = useState(false);
  const checked = route.values[facet.column] ?? [];
  const missing = facet.missing ?? 0;
  const counted = new Map(facet.values.map(({ value, count }) => [JSON.stringify(value), count]));
  const extra = checked.filter((text) => !counted.has(text)); // from a link, or beyond the listed values
  const listed = facet.values.slice(0, all ? VALUES : VALUES_AT_START);
  for (const { value } of facet.values) if (checked.includes(JSON.stringify(value)) && !listed.some((entry) => entry.value === value)) listed.push({ value, count: counted.get(JSON.stringify(value))! });
  const box = (value: Scalar, text: string, number?: number) => (
    <label class="check" key={text}>
      <input type="checkbox" checked={checked.includes(text)} onChange={(event) => toggle(route, facet.column, value, event.currentTarget.checked)} />
      <span class="value breakable">{value === null ? "(no value)" : value === "" ? "(empty)" : String(value)}</span>
      {number !== undefined && <span class="number">{count(number)}</span>}
    </label>
  );
  return (
    <>
      {extra.map((text) => box(JSON.parse(text) as Scalar, text))}
      {listed.map(({ value, count: number }) => box(value, JSON.stringify(value), number))}
      {facet.values.length > VALUES_AT_START && (
        <Button kind="bare" onClick={() => setAll(!all)}>{all ? "Show fewer" : `Show ${Math.min(facet.values.length, VALUES) - VALUES_AT_START} more`}</Button>
      )}
      {missing > 0 && !extra.includes("null") && box(null, "null", missing)}
      {facet.other > 0 && <p class="muted">and {count(facet.other)} documents with other values</p>}
    </>
  );
}

function Range({ facet, route }: { facet: RangeFacet; route: Route }) {
  const [low, high] = route.ranges[facet.column] ?? ["", ""];
  if (facet.min === null || facet.max === null) return <p class="muted">no values</p>;
  const set = (range: [string, string]) => navigate({ ranges: { ...route.ranges, [facet.column]: range } }, { replace: true });
  const input = (which: "from" | "to", value: string, given: number, change: (text: string) => void) => (
    <label class="field">
      <span>{which}</span>
      <input type="number" step={facet.kind === "int" ? 1 : "any"} placeholder={short(given)} value={value}
        aria-label={`${facet.column} ${which}`} onChange={(event) => change(event.currentTarget.value)} />
    </label>
  );
  return (
    <div class="range">
      {input("from", low, facet.min, (text) => set([text, high]))}
      {input("to", high, facet.max, (text) => set([low, text]))}
    </div>
  );
}

function Column({ column, kind, known, route, start }: { column: string; kind: Kind; known?: Facet | undefined; route: Route; start: boolean }) {
  const active = (route.values[column]?.length ?? 0) + (route.ranges[column]?.some(Boolean) ? 1 : 0);
  const [open, setOpen] = useState(start || active > 0);
  const asked = useRemote(open && !known ? `facet ${column}` : null, (signal) => get<Facet>("api/facets", { column, limit: VALUES }, signal));
  const data = known ?? asked.data;
  const { problem } = asked;
  return (
    <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)} class="facet">
      <summary>
        <span class="breakable">{column}</span>
        {active > 0 && <span class="badge">{active}</span>}
      </summary>
      {problem && <p class="bad-text">{problem.message}</p>}
      {data && <fieldset><legend class="unseen">{column} ({kind})</legend>
        {"values" in data ? <Values facet={data} route={route} /> : <Range facet={data} route={route} />}
      </fieldset>}
    </details>
  );
}

function Raw({ route, problem }: { route: Route; problem: ApiProblem | null }) {
  const [text, setText] = useState(route.where);
  useEffect(() => setText(route.where), [route.where]);
  const wrong = route.where !== "" && problem?.code === "invalid_value" ? problem.message : "";
  return (
    <details class="facet" open={route.where !== ""}>
      <summary>Condition {route.where && <span class="badge">1</span>}</summary>
      <form onSubmit={(event) => { event.preventDefault(); navigate({ where: text.trim() }); }}>
        <label class="field">
          <span>As in SQL</span>
          <textarea rows={2} value={text} placeholder="year > 2019 AND section = 'utils'" spellcheck={false} aria-invalid={wrong ? true : undefined}
            aria-describedby={wrong ? "raw-problem" : undefined} onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); navigate({ where: text.trim() }); } }} />
        </label>
        {wrong && <p id="raw-problem" class="bad-text breakable" role="alert">{wrong}</p>}
        <button type="submit" class="button quiet">Apply</button>
      </form>
    </details>
  );
}

// How well a column divides the documents, smaller is better: few values, then ranges, then many values, then names of single documents.
function sorting(facet: Facet | undefined): number {
  if (!facet) return 5;
  if (!("values" in facet)) return facet.min === facet.max ? 6 : 3;
  const listed = facet.values.reduce((sum, { count }) => sum + count, 0);
  const [first] = facet.values;
  if (!first || facet.values.length < 2) return 6;
  if (first.count === 1) return 5;
  if (first.count > 0.95 * (listed + facet.other)) return 4;
  return facet.other === 0 ? 1 : facet.other < listed ? 2 + facet.other / (listed + facet.other) : 4;
}

export function Filters({ route, info, problem }: { route: Route; info: Info; problem: ApiProblem | null }) {
  const [all, setAll] = useState(false);
  const names = Object.keys(info.columns).filter((name) => !OWN_COLUMNS.has(name));
  const first = names.slice(0, COLUMNS_AT_START);
  const facets = useRemote(`facets ${info.version}`, async (signal) => {
    const found = await Promise.allSettled(first.map((column) => get<Facet>("api/facets", { column, limit: VALUES }, signal)));
    return new Map(found.flatMap((result) => (result.status === "fulfilled" ? [[result.value.column, result.value] as const] : [])));
  });
  const known = facets.data;
  const ready = known !== null || facets.problem !== null;
  const sorted = [...first].sort((a, b) => sorting(known?.get(a)) - sorting(known?.get(b)));
  const columns = [...sorted, ...names.slice(COLUMNS_AT_START)].map((name) => [name, info.columns[name]!] as const);
  const active = filterCount(route);
  const shown = !ready ? [] : columns.filter(([name], place) => all || place < COLUMNS_AT_START || name in route.values || name in route.ranges);
  return (
    <section class="filters" aria-label="Filters">
      <div class="filters-head">
        <h2>Filters</h2>
        {active > 0 && <Button kind="bare" onClick={() => navigate({ values: {}, ranges: {}, where: "" })}>Clear</Button>}
      </div>
      {route.where !== "" && <Raw route={route} problem={problem} />}
      {shown.map(([column, kind], place) => (
        <Column key={column} column={column} kind={kind} known={known?.get(column)} route={route} start={place < OPEN_AT_START && sorting(known?.get(column)) <= 3} />
      ))}
      {ready && columns.length > shown.length && <Button kind="bare" onClick={() => setAll(true)}>{columns.length - shown.length} more columns</Button>}
      {columns.length === 0 && <p class="muted">The documents have no metadata.</p>}
      {route.where === "" && <Raw route={route} problem={problem} />}
    </section>
  );
}
