// Search: the box, the filters, the hits.

import { useState } from "preact/hooks";
import { get } from "../api";
import { bytes, count, plural, seconds } from "../format";
import { Icon } from "../icons";
import { useRemote } from "../remote";
import { formatRoute, navigate, parseRoute, type Route } from "../route";
import type { Document, Info, Mode } from "../types";
import { filterCount } from "../where";
import { Button, Notice, Problem, Waiting } from "../ui";
import { useHits, type Asked } from "./asking";
import { SearchBox } from "./box";
import { Filters } from "./filters";
import { HitList } from "./hits";

const PAGE = 10;

export const SCORES: Record<Mode, string> = {
  dense: "Similarity",
  keyword: "BM25 score",
  hybrid: "Fused rank score",
};

function Start({ info, route }: { info: Info; route: Route }) {
  const facts: [string, string][] = [
    ["Documents", count(info.documents)],
    ["Dimensions", count(info.dim)],
    ["Model", info.encoder ? info.encoder.name.split("/").at(-1)! : "own vectors"],
    ["On disk", info.bytes === null ? "elsewhere" : bytes(info.bytes)],
  ];
  const ways = [
    { tab: "map", icon: "map", name: "See the whole index", about: "Every document a point, alike ones close together." },
    { tab: "health", icon: "health", name: "Check the vectors", about: "Rank, hubs, duplicates, outliers: without labels." },
    { tab: "prices", icon: "prices", name: "Weigh bytes against recall", about: "What each way to shrink the vectors costs in hits." },
    { tab: "systems", icon: "systems", name: "Look behind it", about: "65 published systems, each claim measured anew." },
  ] as const;
  return (
    <div class="start">
      <h1>Search {info.name}</h1>
      <dl class="facts">{facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd class="breakable">{value}</dd></div>)}</dl>
      <ul class="ways">
        {ways.map((way) => (
          <li key={way.tab}>
            <a href={formatRoute({ ...route, tab: way.tab })}><Icon name={way.icon} size={22} /><strong>{way.name}</strong><span>{way.about}</span></a>
          </li>
        ))}
      </ul>
      <p class="muted keys-line"><kbd>/</kbd> search <kbd>↓</kbd><kbd>↑</kbd> through the hits <kbd>Enter</kbd> open <kbd>Esc</kbd> close <kbd>?</kbd> all keys</p>
    </div>
  );
}

export function Likeness({ id }: { id: string }) {
  const { data } = useRemote(`like ${id}`, (signal) => get<Document>("api/document", { id }, signal));
  return (
    <p class="likeness">
      <span>More like <a href={formatRoute({ ...parseRoute(location.hash), doc: id })}>{data?.title || id}</a></span>
      <Button kind="bare" icon="close" label="End more like this" onClick={() => navigate({ like: "" })} />
    </p>
  );
}

export function Outcome({ found, route }: { found: Asked; route: Route }) {
  const { data, hits } = found;
  const text = !data ? "" : hits.length === 0 ? "No hits"
    : `${plural(hits.length, "hit")}${found.exhausted ? "" : " so far"} · ${seconds(data.took_ms / 1000)}`;
  const filters = filterCount(route);
  return <p class="outcome" role="status" aria-live="polite" data-loading={found.loading || undefined}>{text}{data && filters ? ` · ${plural(filters, "filter")}` : ""}</p>;
}

function Results({ found, route, info }: { found: Asked; route: Route; info: Info }) {
  if (!found.asked) return <Start info={info} route={route} />;
  const { data, problem } = found;
  const filterWrong = problem?.code === "invalid_value" && route.where !== "";
  return (
    <section aria-label="Hits">
      <h1 class="unseen">Hits</h1>
      {route.like && <Likeness id={route.like} />}
      {problem && (filterWrong ? <Notice title="The condition cannot be read" tone="bad"><p>{problem.message}</p></Notice> : <Problem problem={problem} retry={found.reload} />)}
      {!data && !problem && <Waiting what="Searching…" />}
      {data && <Outcome found={found} route={route} />}
      {data && found.hits.length === 0 && (
        <Notice title="Nothing found">
          <p>{filterCount(route) ? "No document that passes the filters matches." : data.mode === "keyword" ? "No document holds these words. Dense search looks for the meaning instead." : "No document matches."}</p>
          {filterCount(route) > 0 && <Button onClick={() => navigate({ values: {}, ranges: {}, where: "" })}>Clear the filters</Button>}
        </Notice>
      )}
      {data && found.hits.length > 0 && <HitList hits={found.hits} route={route} scoreName={SCORES[data.mode] ?? "Score"} />}
      {found.moreProblem && <Problem problem={found.moreProblem} />}
      {data && found.hits.length > 0 && !found.exhausted && (
        <div class="more"><Button kind="quiet" onClick={found.more} disabled={found.loadingMore}>{found.loadingMore ? "Loading…" : "More hits"}</Button></div>
      )}
    </section>
  );
}

export function SearchPage({ route, info }: { route: Route; info: Info }) {
  const [filtering, setFiltering] = useState(false);
  const found = useHits(route, info, PAGE);
  const active = filterCount(route);
  return (
    <div class="search-page">
      <div class="search-top">
        <SearchBox route={route} info={info} placeholder={`Search ${plural(info.documents, "document")}`} />
        <div class="filter-switch">
          <button type="button" class="button quiet" aria-expanded={filtering} onClick={() => setFiltering(!filtering)}>
            <Icon name="filter" size={18} /><span class="words">Filters</span>{active > 0 && <span class="badge">{active}</span>}
          </button>
        </div>
      </div>
      <div class={filtering ? "search-columns filtering" : "search-columns"}>
        <aside aria-label="Narrow the search"><Filters route={route} info={info} problem={found.problem} /></aside>
        <Results found={found} route={route} info={info} />
      </div>
    </div>
  );
}
