// The hits of a search as a list.

import { ending } from "../format";
import { EMPTY, formatRoute, navigate, type Route } from "../route";
import type { Hit } from "../types";
import { Button, Marked } from "../ui";

const SHOWN_METADATA = 3;
const SHOWN_CHARACTERS = 36;
const WEB_ADDRESS = /^https?:/;

function Chips({ hit }: { hit: Hit }) {
  const entries = Object.entries(hit.metadata).filter(([, value]) => value !== null && value !== "" && String(value).length <= SHOWN_CHARACTERS && !WEB_ADDRESS.test(String(value)));
  if (!entries.length) return null;
  return (
    <ul class="chips" aria-label="Metadata">
      {entries.slice(0, SHOWN_METADATA).map(([key, value]) => (
        <li key={key}><span class="key">{key}</span> {String(value)}</li>
      ))}
    </ul>
  );
}

// What tells equal scores from better ones: as many digits as the kind of score needs.
const score = (value: number): string => (Math.abs(value) >= 1 ? value.toFixed(2) : value.toFixed(3));

export function HitList({ hits, route, compact = false, scoreName }: { hits: Hit[]; route: Route; compact?: boolean; scoreName: string }) {
  return (
    <ol class={compact ? "hits compact" : "hits"} start={hits[0]?.rank ?? 1}>
      {hits.map((hit) => (
        <li key={hit.id}>
          <div class="hit-head">
            <h3 class="breakable">
              <a data-hit href={formatRoute({ ...route, doc: hit.id })}>
                {hit.title ? <Marked text={hit.title} spans={hit.title_highlights} /> : ending(hit.id)}
              </a>
            </h3>
            <span class="score" title={scoreName}><span class="unseen">{scoreName} </span>{score(hit.score)}</span>
          </div>
          <p class="snippet breakable"><Marked text={hit.snippet} spans={hit.highlights} /></p>
          {!compact && (
            <div class="hit-foot">
              {hit.source && <span class="source breakable" title={hit.source}>{ending(hit.source)}</span>}
              <Chips hit={hit} />
              <Button icon="alike" onClick={() => navigate({ ...EMPTY, mode: route.mode, like: hit.id })}>More like this</Button>
            </div>
          )}
        </li>
      ))}
    </ol>
  );
}
