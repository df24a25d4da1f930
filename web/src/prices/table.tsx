// The price list as a table.

import { useState } from "preact/hooks";
import { bytes, rate, seconds } from "../format";
import { clusterColour, css } from "../map/colours";
import { useTheme } from "../theme";
import type { Interval, PriceRow } from "../types";
import { frontOf, nameOf, type Counted } from "./choosing";

function Measured({ interval }: { interval: Interval }) {
  const [mean, low, high] = interval;
  return <td class="number"><strong>{mean.toFixed(3)}</strong> <span class="muted">{low.toFixed(3)}–{high.toFixed(3)}</span></td>;
}

export function PriceTable({ rows, names, counted, best }: { rows: PriceRow[]; names: string[]; counted: Counted; best: PriceRow | null }) {
  const theme = useTheme();
  const [all, setAll] = useState(false);
  const front = frontOf(rows, counted);
  const shown = all ? [...rows].sort((a, b) => a[counted] - b[counted] || b.recall_10[0] - a.recall_10[0]) : front;
  return (
    <section aria-label="Settings">
      <div class="table-head">
        <h2>{all ? `All ${rows.length} settings` : `The ${front.length} settings on the front`}</h2>
        <label class="check"><input type="checkbox" checked={all} onChange={(event) => setAll(event.currentTarget.checked)} /><span>Show all settings</span></label>
      </div>
      <div class="table" tabIndex={0} role="region" aria-label="Price list, scrolls sideways">
        <table>
          <thead>
            <tr>
              <th scope="col">Setting</th><th scope="col" class="number">Scanned</th><th scope="col" class="number">Kept</th><th scope="col" class="number">recall@10</th>
              <th scope="col" class="number">recall@1</th><th scope="col" class="number">nDCG@10</th><th scope="col" class="number">Build</th><th scope="col" class="number">Queries/s</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={nameOf(row)} class={row === best ? "best" : ""} aria-current={row === best ? "true" : undefined}>
                <th scope="row"><span class={front.includes(row) ? "swatch" : "swatch hollow"} style={{ backgroundColor: front.includes(row) ? css(clusterColour(names.indexOf(row.name), theme)) : "transparent", borderColor: css(clusterColour(names.indexOf(row.name), theme)) }} />{nameOf(row)}</th>
                <td class="number">{bytes(row.bytes)}</td>
                <td class="number">{bytes(row.kept_bytes)}</td>
                <Measured interval={row.recall_10} />
                <Measured interval={row.recall_1} />
                <Measured interval={row.ndcg_10} />
                <td class="number">{seconds(row.build_seconds)}</td>
                <td class="number">{rate(row.queries_per_second)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
