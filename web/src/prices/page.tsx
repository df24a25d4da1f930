// The price list: what every byte of a vector buys.

import { useRef, useState } from "preact/hooks";
import { ApiProblem, get, post } from "../api";
import { bytes, count, plural } from "../format";
import { useJob } from "../remote";
import { navigate, type Route } from "../route";
import type { Info, Job, PriceList } from "../types";
import { Button, Computing, Failed, Notice, Problem, Segments, Waiting } from "../ui";
import { bestWithin, nameOf, notTold, type Counted } from "./choosing";
import { PricePlot } from "./plot";
import { PriceTable } from "./table";

const AT_START = 8; // the budget that is shown first: full bytes / 8

function Prices({ prices, route }: { prices: PriceList; route: Route }) {
  const [counted, setCounted] = useState<Counted>("kept_bytes");
  const [dragged, setDragged] = useState<number | null>(null);
  const saving = useRef(0);
  const { rows } = prices;
  if (!rows.length) return <Notice title="The price list is empty"><p>No setting could be measured on this index.</p></Notice>;
  const names = [...new Set(rows.map((row) => row.name))];
  const linked = Number(route.budget);
  const budget = dragged ?? (linked > 0 ? linked : Math.max(prices.full_bytes / AT_START, Math.min(...rows.map((row) => row[counted]))));
  const best = bestWithin(rows, budget, counted);
  const rivals = best ? notTold(rows, best, budget, counted) : 0;
  const spread = best && `${best.recall_10[0].toFixed(3)} (${best.recall_10[1].toFixed(3)} to ${best.recall_10[2].toFixed(3)})`;
  const valueText = best ? `${bytes(budget)} a document: ${nameOf(best)}, recall at 10 ${spread}` : `${bytes(budget)} a document: no setting fits`;
  const setBudget = (value: number) => {
    setDragged(value);
    clearTimeout(saving.current);
    saving.current = window.setTimeout(() => navigate({ budget: String(Math.round(value)) }, { replace: true }), 250);
  };
  const confirmed = prices.chosen?.confirmed;
  return (
    <>
      <div class="price-answer">
        <p class="price-budget"><span>Within</span> <strong>{bytes(budget)}</strong> <span>a document</span></p>
        {best ? (
          <p class="price-best" aria-live="polite">
            <strong class="breakable">{nameOf(best)}</strong>
            <span>keeps {spread} of the full vectors' ten nearest, at {share(prices.full_bytes / best[counted])} of the bytes.</span>
            {rivals > 0 && <span class="muted">{plural(rivals, "other setting")} within the budget cannot be told from it with {plural(prices.queries, "query", "queries")}.</span>}
          </p>
        ) : <p class="price-best"><strong>No setting fits.</strong><span>Move the line to the right.</span></p>}
        <Segments label="Bytes that count" value={counted} onChange={setCounted}
          options={[{ value: "kept_bytes", label: "Kept", about: "All bytes that must be kept of a document, with those for rescoring" }, { value: "bytes", label: "Scanned", about: "Bytes that a search reads of every document" }]} />
      </div>
      <PricePlot rows={rows} names={names} counted={counted} budget={budget} best={best} valueText={valueText} onBudget={setBudget} />
      {confirmed && prices.chosen && (
        <p class="confirmed">Confirmed on {plural(confirmed.queries, "query", "queries")} that chose nothing: <strong>{prices.chosen.label}</strong>, recall@10 {confirmed.recall_10[0].toFixed(3)} ({confirmed.recall_10[1].toFixed(3)} to {confirmed.recall_10[2].toFixed(3)}).</p>
      )}
      <PriceTable rows={rows} names={names} counted={counted} best={best} />
      {prices.statements && prices.statements.length > 0 && <ul class="muted statements">{prices.statements.map((text) => <li key={text}>{text}</li>)}</ul>}
      <p class="muted">Measured {prices.date.slice(0, 10)} on {plural(prices.documents, "document")} and {plural(prices.queries, "query", "queries")}, {count(prices.dim)} dimensions, {bytes(prices.full_bytes)} in full, by {prices.metric}. Whiskers are 95% confidence intervals. To take a setting: <code>polyvec shrink</code>.</p>
    </>
  );
}

const share = (times: number): string => (times >= 1.5 ? `1/${Number(times.toPrecision(times >= 10 ? 2 : 2))}` : `${Math.round(100 / times)}%`);

export function PricesPage({ route, info }: { route: Route; info: Info }) {
  const job = useJob(`prices ${info.version}`, (signal) => get<Job & { prices?: PriceList }>("api/prices", {}, signal));
  const [starting, setStarting] = useState(false);
  const [problem, setProblem] = useState<ApiProblem | null>(null);
  const { data } = job;
  const start = async () => {
    setStarting(true);
    setProblem(null);
    try {
      await post("api/prices");
    } catch (error) {
      if (!(error instanceof ApiProblem)) throw error;
      if (error.code !== "busy") setProblem(error); // busy: it is under way, and the next answer says how far
    }
    setStarting(false);
    job.reload();
  };
  return (
    <div class="report">
      <h1>Price list</h1>
      <p class="lead">What every byte buys: each way to shrink these vectors against the neighbours it keeps.</p>
      {job.problem && !data && <Problem problem={job.problem} retry={job.reload} />}
      {problem && <Problem problem={problem} />}
      {!data && !job.problem && <Waiting what="Asking for the prices…" />}
      {data?.status === "none" && (
        <Notice title="Not measured yet">
          <p>Every registered way to shrink the vectors is tried on a sample of this index. It takes a minute or two and changes nothing.</p>
          {info.read_only ? <p class="muted">This index is served read-only: measure on the command line with <code>polyvec shrink</code>.</p> : <Button kind="main" onClick={() => void start()} disabled={starting}>{starting ? "Starting…" : "Measure the prices"}</Button>}
        </Notice>
      )}
      {data?.status === "computing" && <Computing job={data} title="The prices are being measured" about="Each setting is built, searched and compared with the full vectors." />}
      {data?.status === "failed" && <Failed job={data} title="There is no price list" retry={() => void start()} />}
      {data?.status === "ready" && data.prices && <Prices prices={data.prices} route={route} />}
    </div>
  );
}
