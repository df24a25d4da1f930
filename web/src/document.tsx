// A document with its full text. Everything in it is shown as text, whatever it contains.

import { get } from "./api";
import { useRemote } from "./remote";
import { EMPTY, navigate, parseRoute } from "./route";
import type { Document, Scalar } from "./types";
import { Button, Copy, Dialog, Problem, Waiting } from "./ui";

const isWebAddress = (value: Scalar): value is string => typeof value === "string" && /^https?:\/\/[^\s]+$/.test(value);

export function Metadata({ metadata }: { metadata: Record<string, Scalar> }) {
  const entries = Object.entries(metadata).filter(([, value]) => value !== null && value !== "");
  if (!entries.length) return null;
  return (
    <dl class="metadata">
      {entries.map(([key, value]) => (
        <div key={key}>
          <dt>{key}</dt>
          <dd>{isWebAddress(value) ? <a href={value} target="_blank" rel="noopener noreferrer nofollow">{value}</a> : String(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

function Content({ document, onClose }: { document: Document; onClose: () => void }) {
  const mode = parseRoute(location.hash).mode;
  return (
    <article>
      <div class="dialog-head">
        <h2 class="breakable">{document.title || document.id}</h2>
        <Button kind="bare" icon="close" label="Close the document" onClick={onClose} />
      </div>
      {document.source && <p class="source breakable">{document.source}</p>}
      <div class="actions">
        <Button icon="alike" onClick={() => navigate({ ...EMPTY, mode, like: document.id })}>More like this</Button>
        {document.point !== null && document.point !== undefined && (
          <Button icon="map" onClick={() => navigate({ tab: "map", slug: "", doc: "", like: document.id, q: "" })}>Show on the map</Button>
        )}
        <Copy text={document.id} what="of the document" label="Copy id" />
      </div>
      <div class="text" data-document-text>{document.text}</div>
      <Metadata metadata={{ id: document.id, ...document.metadata }} />
    </article>
  );
}

export function DocumentDialog({ id, onClose }: { id: string; onClose: () => void }) {
  const { data, problem, reload } = useRemote(id || null, (signal) => get<Document>("api/document", { id }, signal));
  const ready = data?.id === id ? data : null;
  return (
    <Dialog open={id !== ""} onClose={onClose} label={ready?.title || "Document"} class="side">
      {ready ? <Content document={ready} onClose={onClose} /> : (
        <div>
          <div class="dialog-head"><h2>Document</h2><Button kind="bare" icon="close" label="Close the document" onClick={onClose} /></div>
          {problem ? <Problem problem={problem} retry={reload} /> : <Waiting what="Reading the document…" />}
        </div>
      )}
    </Dialog>
  );
}
