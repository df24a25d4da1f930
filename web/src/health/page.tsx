// The health report: what was found, how it is judged, and what to do.

import { Chart, type Shape } from "../charts";
import { get } from "../api";
import { count, plural } from "../format";
import { useJob } from "../remote";
import { formatRoute, parseRoute } from "../route";
import type { Finding, FindingStatus, HealthReport, Info, Job } from "../types";
import { Computing, Failed, Problem, Waiting } from "../ui";

const ORDER: FindingStatus[] = ["bad", "warn", "ok", "not computed"];
const WORDS: Record<FindingStatus, string> = { bad: "Bad", warn: "Warning", ok: "Sound", "not computed": "Not computed" };

export function StatusBadge({ status }: { status: FindingStatus }) {
  return <span class={`status ${status.replace(" ", "-")}`}>{WORDS[status]}</span>;
}

function Examples({ finding }: { finding: Finding }) {
  if (!finding.examples.length) return null;
  const here = parseRoute(location.hash);
  return (
    <ul class="examples">
      {finding.examples.map((example, place) => (
        <li key={place}>
          {example.ids.slice(0, 6).map((id) => <a key={id} class="breakable" href={formatRoute({ ...here, doc: String(id) })}>{id}</a>)}
          {example.note && <span class="muted"> {example.note}</span>}
        </li>
      ))}
    </ul>
  );
}

function FindingCard({ finding }: { finding: Finding }) {
  const open = finding.status === "bad" || finding.status === "warn";
  return (
    <details class={`finding ${finding.status.replace(" ", "-")}`} open={open}>
      <summary>
        <h3>{finding.name}</h3>
        <span class="value breakable">{finding.shown}</span>
        <StatusBadge status={finding.status} />
      </summary>
      <div class="finding-body">
        <p>{finding.meaning}</p>
        {finding.advice && <p><strong>What to do: </strong>{finding.advice}</p>}
        <Examples finding={finding} />
        <p class="muted">{finding.threshold && <>Threshold: {finding.threshold}. </>}{finding.source && <>Source: {finding.source}.</>}</p>
      </div>
    </details>
  );
}

interface Drawing {
  key: string;
  title: string;
  about: string;
  x: string;
  y: string;
  logX?: boolean;
  logY?: boolean;
  shapes: (series: Record<string, number[]>) => Shape[];
}

const places = (values: number[]) => values.map((_, place) => place + 1);

const DRAWINGS: Drawing[] = [
  { key: "rank_curve", title: "Effective rank against the number of rows", about: "Flat at the right: there are rows enough to know the rank.", x: "rows (random subsets)", y: "effective rank", logX: true,
    shapes: (s) => [{ kind: "line", x: s.rows!, y: s.rank!, dots: true }] },
  { key: "spectrum", title: "Spectrum", about: "A cliff: the dimensions after it are unused. One tall start: a dominant direction or mean.", x: "singular value, largest first", y: "share of their sum", logY: true,
    shapes: (s) => [{ kind: "line", x: places(s.singular_value!), y: s.singular_value! }] },
  { key: "cosines", title: "Cosines", about: "The further apart the two, the clearer search can tell related from unrelated.", x: "cosine", y: "share of pairs",
    shapes: (s) => [{ kind: "bars", x: s.edges!, y: s.random_pairs!, name: "random pairs", second: true }, { kind: "bars", x: s.edges!, y: s.nearest!, name: "nearest neighbours" }] },
  { key: "occurrences", title: "Occurrence among the nearest neighbours", about: "A long tail to the right: hubs. A tall bar at 0: orphans.", x: "times among the nearest of others", y: "rows", logY: true,
    shapes: (s) => [{ kind: "stems", x: s.times!, y: s.rows! }] },
  { key: "norms", title: "Norms", about: "Values beyond 0.1% and 99.9% stand in the outermost bars.", x: "Euclidean norm", y: "rows",
    shapes: (s) => [{ kind: "bars", x: s.edges!, y: s.rows! }] },
  { key: "deviations", title: "Standard deviation of the dimensions", about: "Zero at the right: dead dimensions. A peak at the left: a dominant one.", x: "dimension, most variable first", y: "standard deviation",
    shapes: (s) => [{ kind: "line", x: places(s.standard_deviation!), y: s.standard_deviation! }] },
];

function Report({ report }: { report: HealthReport }) {
  const sorted = [...report.findings].sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status));
  const counted = ORDER.map((status) => [status, report.findings.filter((finding) => finding.status === status).length] as const).filter(([, number]) => number);
  return (
    <>
      <div class="verdict">
        <p>{plural(report.rows, "vector")} of {plural(report.dim, "dimension")}</p>
        <ul aria-label="Outcome">{counted.map(([status, number]) => <li key={status}><strong>{number}</strong> <StatusBadge status={status} /></li>)}</ul>
      </div>
      <section aria-label="Findings" class="findings">{sorted.map((finding) => <FindingCard key={finding.key} finding={finding} />)}</section>
      <section aria-label="Charts" class="charts">
        {DRAWINGS.filter(({ key }) => report.series[key]).map(({ key, shapes, ...rest }) => <Chart key={key} {...rest} shapes={shapes(report.series[key]!)} />)}
      </section>
      {report.statements.length > 0 && <ul class="muted statements">{report.statements.map((text) => <li key={text}>{text}</li>)}</ul>}
      <p class="muted">Pairs were compared on a sample of {count(report.sample)} rows{report.seed !== null && `, seed ${report.seed}`}. The same report on the command line: <code>polyvec inspect</code>.</p>
    </>
  );
}

export function HealthPage({ info }: { info: Info }) {
  const job = useJob(`health ${info.version}`, (signal) => get<Job & { report?: HealthReport }>("api/health", {}, signal));
  const { data } = job;
  return (
    <div class="report">
      <h1>Health of the vectors</h1>
      <p class="lead">Judged without labels: whether the vectors use their space, and what would make search worse.</p>
      {job.problem && !data && <Problem problem={job.problem} retry={job.reload} />}
      {!data && !job.problem && <Waiting what="Asking for the report…" />}
      {data?.status === "computing" && <Computing job={data} title="The vectors are being examined" about="The report is made once for each state of the index and then kept." />}
      {data?.status === "failed" && <Failed job={data} title="There is no report" retry={job.reload} />}
      {data?.status === "ready" && data.report && <Report report={data.report} />}
    </div>
  );
}
