// One system: what it is, what its authors claim, what was measured, and how to call it.

import { useEffect, useRef, useState } from "preact/hooks";
import { getBlob, get } from "../api";
import { seconds } from "../format";
import { Icon } from "../icons";
import { useRemote } from "../remote";
import { formatRoute, type Route } from "../route";
import type { SystemDetail, SystemReport } from "../types";
import { Lines, Problem, Waiting } from "../ui";
import { VerdictBadge } from "./page";

// The picture goes through fetch, which can send the token, and onto a canvas, for which the page's policy needs no exception.
function Plot({ address, title }: { address: string; title: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [drawn, setDrawn] = useState(false);
  const { data, problem } = useRemote(address, async (signal) => createImageBitmap(await getBlob(address.replace(/^\//, ""), signal)));
  useEffect(() => {
    if (!data || !canvas.current) return;
    [canvas.current.width, canvas.current.height] = [data.width, data.height];
    canvas.current.getContext("2d")?.drawImage(data, 0, 0);
    setDrawn(true);
  }, [data]);
  if (problem) return <Problem problem={problem} />;
  return <canvas ref={canvas} class={drawn ? "plot" : "plot pending"} role="img" aria-label={`Plot of what was measured for ${title}. The table of verdicts holds its numbers.`} />;
}

function tone(verdict: string): string {
  return verdict === "holds" ? "ok" : verdict === "does not hold" ? "bad" : "not-computed";
}

function Measured({ report }: { report: SystemReport }) {
  return (
    <>
      <div class="table" tabIndex={0} role="region" aria-label="Verdicts, scrolls sideways">
        <table class="verdicts">
          <thead><tr><th scope="col">Claim</th><th scope="col">Criterion, fixed before the run</th><th scope="col">Measured</th><th scope="col">Verdict</th></tr></thead>
          <tbody>
            {report.verdicts.map((verdict) => (
              <tr key={verdict.id}>
                <th scope="row">{verdict.statement}</th>
                <td>{verdict.criterion || "none"}</td>
                <td>{verdict.measured}</td>
                <td><span class={`status ${tone(verdict.verdict)}`}>{verdict.verdict}</span></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {report.notes.length > 0 && (
        <details class="notes"><summary>{report.notes.length} notes on the run</summary><ul>{report.notes.map((note) => <li key={note}>{note}</li>)}</ul></details>
      )}
      <p class="muted">Scale {report.scale}, seeds {report.seeds.join(", ")}, {report.date}, {seconds(report.wall_seconds)}, data: {Object.entries(report.data).map(([name, version]) => `${name} ${version}`).join(", ") || "none"}.</p>
    </>
  );
}

export function SystemDetailView({ slug, route }: { slug: string; route: Route }) {
  const { data, problem, reload } = useRemote(`system ${slug}`, (signal) => get<SystemDetail>(`api/systems/${encodeURIComponent(slug)}`, {}, signal));
  const system = data?.slug === slug ? data : null;
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (system) heading.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [system?.slug]);
  const python = Array.isArray(system?.python) ? system.python.join("\n") : system?.python;
  return (
    <div class="report system">
      <a class="back" href={formatRoute({ ...route, slug: "" })}><Icon name="back" size={18} /> All systems</a>
      {problem && !system && <Problem problem={problem} retry={reload} />}
      {!system && !problem && <Waiting what="Reading…" />}
      {system && (
        <article>
          <div class="system-head"><h1 ref={heading} tabIndex={-1}>{system.title}</h1><VerdictBadge row={{ status: system.status, verdict: system.verdict ?? system.report?.verdict ?? null }} /></div>
          <p class="lead">{system.full_title}</p>
          <p class="muted">{[system.venue || system.year, system.source !== system.venue ? system.source : "", system.place].filter(Boolean).join(" · ")}</p>
          <p class="description">{system.description}</p>
          <section aria-label="How to call it" class="calling">
            <h2>How to call it</h2>
            {python && <Lines text={python} what="the Python lines" />}
            {system.command && <Lines text={system.command} what="the command" />}
            {!python && system.api.length > 0 && <p class="muted">{system.status === "working" ? "Names" : "Reserved names"}: {system.api.join(", ")}</p>}
          </section>
          <section aria-label="What is claimed">
            <h2>What is claimed</h2>
            <ul class="claims">{system.claims.map((claim) => <li key={claim}>{claim}</li>)}</ul>
          </section>
          <section aria-label="What was measured">
            <h2>What was measured</h2>
            {system.report ? <Measured report={system.report} /> : <p class="muted">Nothing yet.</p>}
            {system.plot && <Plot address={system.plot} title={system.title} />}
          </section>
        </article>
      )}
    </div>
  );
}
