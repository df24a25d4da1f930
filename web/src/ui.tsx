// Small parts that several views share.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiProblem } from "./api";
import { Icon, type IconName } from "./icons";
import type { Job, Span } from "./types";

// A text with its matches marked. Offsets count code points, as Python does; the text only ever becomes text nodes.
export function Marked({ text, spans }: { text: string; spans: Span[] }) {
  if (!spans.length) return <>{text}</>;
  const points = Array.from(text);
  const parts: ComponentChildren[] = [];
  let end = 0;
  for (const [from, to] of [...spans].sort((a, b) => a[0] - b[0])) {
    if (to <= end) continue;
    const start = Math.max(from, end);
    parts.push(points.slice(end, start).join(""), <mark key={start}>{points.slice(start, to).join("")}</mark>);
    end = to;
  }
  parts.push(points.slice(end).join(""));
  return <>{parts}</>;
}

export function Button({ icon, children, onClick, kind = "quiet", label, pressed, disabled }: {
  icon?: IconName;
  children?: ComponentChildren;
  onClick: () => void;
  kind?: "quiet" | "main" | "bare";
  label?: string;
  pressed?: boolean;
  disabled?: boolean;
}) {
  return (
    <button type="button" class={`button ${kind}`} onClick={onClick} aria-label={label} title={label} aria-pressed={pressed} disabled={disabled}>
      {icon && <Icon name={icon} size={18} />}
      {children}
    </button>
  );
}

export function Segments<T extends string>({ label, options, value, onChange }: {
  label: string;
  options: { value: T; label: string; about?: string }[];
  value: T;
  onChange: (value: T) => void;
}) {
  const name = label.replace(/\W+/g, "-").toLowerCase();
  return (
    <fieldset class="segments">
      <legend class="unseen">{label}</legend>
      {options.map((option) => (
        <label key={option.value} title={option.about}>
          <input type="radio" name={name} value={option.value} checked={option.value === value} onChange={() => onChange(option.value)} />
          <span>{option.label}</span>
        </label>
      ))}
    </fieldset>
  );
}

export function Copy({ text, what, label = "Copy" }: { text: string; what: string; label?: string }) {
  const [state, setState] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setState("Copied");
    } catch {
      setState("Select and copy by hand");
    }
    window.setTimeout(() => setState(""), 2000);
  };
  return (
    <button type="button" class="button quiet copy" onClick={() => void copy()}>
      <Icon name={state === "Copied" ? "check" : "copy"} size={16} />
      <span aria-live="polite">{state || label}</span>{!state && <span class="unseen"> {what}</span>}
    </button>
  );
}

export function Lines({ text, what }: { text: string; what: string }) {
  return (
    <div class="lines">
      <pre tabIndex={0} aria-label={what}><code>{text}</code></pre>
      <Copy text={text} what={what} />
    </div>
  );
}

export function Notice({ title, children, tone = "plain", role }: {
  title: string;
  children?: ComponentChildren;
  tone?: "plain" | "bad";
  role?: "alert" | "status";
}) {
  return (
    <div class={`notice ${tone}`} role={role}>
      <h2>{title}</h2>
      {children}
    </div>
  );
}

const TITLES: Record<string, string> = {
  offline: "No connection",
  unauthorized: "A token is needed",
  busy: "The server is busy",
  timeout: "That took too long",
  not_found: "Not found",
  invalid_value: "That cannot be read",
  unavailable: "Not available",
};

export function Problem({ problem, retry }: { problem: ApiProblem; retry?: () => void }) {
  return (
    <Notice title={TITLES[problem.code] ?? "Something went wrong"} tone="bad" role="alert">
      <p>{problem.message}</p>
      {problem.code === "offline" && <p>This page tries again by itself every few seconds.</p>}
      {retry && <Button kind="quiet" onClick={retry}>Try again</Button>}
    </Notice>
  );
}

export function Waiting({ what }: { what: string }) {
  const [shown, setShown] = useState(false);
  useEffect(() => {
    const timer = window.setTimeout(() => setShown(true), 250); // quick answers need no flicker
    return () => clearTimeout(timer);
  }, []);
  return <div class="waiting" role="status">{shown && <><span class="spinner" aria-hidden="true" />{what}</>}</div>;
}

export function Computing({ job, title, about }: { job: Job; title: string; about: string }) {
  const share = typeof job.progress === "number" ? Math.min(Math.max(job.progress, 0), 1) : null;
  return (
    <Notice title={title} role="status">
      <p>{about}</p>
      <progress aria-label={title} {...(share === null ? {} : { value: share, max: 1 })} />
      <p class="muted">{share === null ? job.message || "Working…" : `${Math.round(100 * share)}%${job.message ? ` · ${job.message}` : ""}`}</p>
    </Notice>
  );
}

export function Failed({ job, title, retry }: { job: Job; title: string; retry?: () => void }) {
  return (
    <Notice title={title} tone="bad" role="alert">
      <p>{job.message || "The server gave no reason; its log may say more."}</p>
      {retry && <Button kind="quiet" onClick={retry}>Try again</Button>}
    </Notice>
  );
}

// A dialog that stays in the page, so that closing it gives the focus back to where it came from.
export function Dialog({ open, onClose, label, class: name = "", children }: {
  open: boolean;
  onClose: () => void;
  label: string;
  class?: string;
  children: ComponentChildren;
}) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = box.current!;
    if (open && !dialog.open) dialog.showModal();
    if (!open && dialog.open) dialog.close();
  }, [open]);
  return (
    <dialog
      ref={box}
      class={name}
      aria-label={label}
      onCancel={(event) => { event.preventDefault(); onClose(); }}
      onClick={(event) => { if (event.target === box.current) onClose(); }}
    >
      {open && children}
    </dialog>
  );
}
