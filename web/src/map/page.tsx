// The map with its search and its list of clusters, which tells without the picture what the picture shows.

import { useEffect, useMemo, useState } from "preact/hooks";
import { get } from "../api";
import { count, plural } from "../format";
import { useJob, useRemote } from "../remote";
import { formatRoute, navigate, type Route } from "../route";
import { useHits } from "../search/asking";
import { SearchBox } from "../search/box";
import { HitList } from "../search/hits";
import { Likeness, Outcome, SCORES } from "../search/page";
import { useTheme } from "../theme";
import type { Document, Info, Job, MapInfo, MapPoint } from "../types";
import { Button, Computing, Failed, Notice, Problem, Waiting } from "../ui";
import { MapCanvas } from "./canvas";
import { clusterColour, css } from "./colours";
import { loadPoints, mostTypical, type MapData } from "./data";

const LIT = 50;
const TYPICAL = 8;

function Typical({ data, slot, route }: { data: MapData; slot: number; route: Route }) {
  const { data: found, problem } = useRemote(`typical ${data.info.count} ${slot}`, async (signal) => {
    const points = await Promise.all(mostTypical(data, slot, TYPICAL).map((index) => get<MapPoint>("api/map/point", { index }, signal)));
    return { slot, points };
  });
  if (problem) return <p class="bad-text">{problem.message}</p>;
  if (found?.slot !== slot) return <Waiting what="Reading…" />;
  return (
    <ul class="typical" aria-label="Closest to its centre">
      {found.points.map((point) => <li key={point.index}><a class="breakable" href={formatRoute({ ...route, doc: point.id })}>{point.title || point.id}</a></li>)}
    </ul>
  );
}

function Legend({ data, route, slot, onHover }: { data: MapData; route: Route; slot: number | null; onHover: (slot: number | null) => void }) {
  const theme = useTheme();
  const outside = data.slots.length - data.clusters.reduce((sum, cluster) => sum + cluster.count, 0);
  return (
    <section aria-label="Clusters">
      <h2>{plural(data.clusters.length, "cluster")}</h2>
      <ul class="legend" onMouseLeave={() => onHover(null)}>
        {data.clusters.map((cluster, place) => {
          const open = slot === place;
          return (
            <li key={cluster.number}>
              <button type="button" aria-expanded={open} onClick={() => navigate({ cluster: open ? "" : String(cluster.number), q: "", like: "" })}
                onMouseEnter={() => onHover(place)} onFocus={() => onHover(place)} onBlur={() => onHover(null)}>
                <span class="swatch" style={{ backgroundColor: css(clusterColour(place, theme)) }} />
                <span class="words"><strong>{cluster.label}</strong>{rest(cluster.label, cluster.words) && <span>{rest(cluster.label, cluster.words)}</span>}</span>
                <span class="number">{count(cluster.count)}</span>
              </button>
              {open && <Typical data={data} slot={place} route={route} />}
            </li>
          );
        })}
      </ul>
      {outside > 0 && <p class="muted">{plural(outside, "document")} in no cluster</p>}
      <p class="muted">Drawn with {data.info.method}. Neighbours on the map are mostly alike; distances between far groups say little.</p>
    </section>
  );
}

// The distinctive words that the label does not hold already.
function rest(label: string, words: string[]): string {
  const said = new Set(label.toLowerCase().split(/[^\p{L}\p{N}]+/u));
  return words.filter((word) => !said.has(word.toLowerCase())).slice(0, 4).join(", ");
}

function Ready({ map, route, info }: { map: MapInfo; route: Route; info: Info }) {
  const points = useRemote(`points ${info.version} ${map.count}`, (signal) => loadPoints(map, signal));
  const found = useHits(route, info, LIT, `map ${info.version}`);
  const [hovered, setHovered] = useState<number | null>(null);
  const opened = route.doc || route.like;
  const document = useRemote(opened ? `point ${opened}` : null, (signal) => get<Document>("api/document", { id: opened }, signal));
  const lit = useMemo(() => {
    if (!found.asked || !found.data) return null;
    return new Set(found.hits.flatMap((hit) => (hit.point === null || hit.point === undefined ? [] : [hit.point])));
  }, [found.asked, found.data, found.hits.length]);
  const data = points.data;
  const clusterNumber = route.cluster;
  const slot = useMemo(() => {
    const place = data && clusterNumber ? data.clusters.findIndex((cluster) => String(cluster.number) === clusterNumber) : -1;
    return place < 0 ? null : place;
  }, [data, clusterNumber]);
  useEffect(() => setHovered(null), [clusterNumber]);

  if (points.problem) return <Problem problem={points.problem} retry={points.reload} />;
  if (!data) return <Waiting what="Loading the points…" />;
  const chosen = document.data && document.data.id === opened ? (document.data.point ?? null) : null;
  return (
    <div class="map-columns">
      <MapCanvas data={data} lit={lit} slot={lit ? null : (hovered ?? slot)} zoomTo={slot} chosen={chosen} onOpen={(doc) => navigate({ doc })} />
      <aside class="map-side" aria-label="What is on the map">
        {route.like && <Likeness id={route.like} />}
        {found.problem && <Problem problem={found.problem} retry={found.reload} />}
        {found.asked && found.data && (
          <section aria-label="Hits on the map">
            <div class="side-head"><Outcome found={{ ...found, exhausted: true }} route={route} /><Button kind="bare" onClick={() => navigate({ q: "", like: "" })}>Clear</Button></div>
            <HitList hits={found.hits} route={route} compact scoreName={SCORES[found.data.mode] ?? "Score"} />
          </section>
        )}
        {!found.asked && <Legend data={data} route={route} slot={slot} onHover={setHovered} />}
      </aside>
    </div>
  );
}

export function MapPage({ route, info }: { route: Route; info: Info }) {
  const job = useJob(`map ${info.version}`, (signal) => get<Job & { map?: MapInfo }>("api/map", {}, signal));
  const { data } = job;
  return (
    <div class="map-page">
      <h1 class="unseen">Map of {info.name}</h1>
      <SearchBox route={route} info={info} placeholder="Light up what you search for" />
      {job.problem && !data && <Problem problem={job.problem} retry={job.reload} />}
      {!data && !job.problem && <Waiting what="Asking for the map…" />}
      {data?.status === "computing" && <Computing job={data} title="The map is being drawn" about="It is computed once for each state of the index and then kept." />}
      {data?.status === "failed" && <Failed job={data} title="There is no map" retry={job.reload} />}
      {data?.status === "ready" && data.map && (data.map.count === 0
        ? <Notice title="Nothing to draw"><p>The index holds no documents.</p></Notice>
        : <Ready map={data.map} route={route} info={info} />)}
    </div>
  );
}
