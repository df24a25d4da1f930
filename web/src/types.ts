// The server's answers, as far as the page reads them.

export type Kind = "text" | "int" | "float" | "bool";
export type Scalar = string | number | boolean | null;
export type Mode = "dense" | "keyword" | "hybrid";
export type Span = [start: number, end: number];
export type Status = "none" | "computing" | "ready" | "failed";

export interface Info {
  name: string;
  documents: number;
  dim: number;
  metric: string;
  encoder: { name: string } | null;
  columns: Record<string, Kind>;
  read_only: boolean;
  version: number;
  polyvec_version: string;
  bytes: number | null;
  modes: Mode[];
  token_required: boolean;
}

export interface ValueFacet {
  column: string;
  kind: "text" | "bool";
  values: { value: Scalar; count: number }[];
  other: number;
  missing?: number;
}

export interface RangeFacet {
  column: string;
  kind: "int" | "float";
  min: number | null;
  max: number | null;
  missing: number;
}

export type Facet = ValueFacet | RangeFacet;

export interface Hit {
  rank: number;
  id: string;
  score: number;
  title: string | null;
  snippet: string;
  highlights: Span[];
  title_highlights: Span[];
  source: string;
  metadata: Record<string, Scalar>;
  point: number | null;
}

export interface SearchAnswer {
  query: string | null;
  mode: Mode;
  took_ms: number;
  hits: Hit[];
}

export interface Document {
  id: string;
  title: string | null;
  text: string;
  source: string;
  metadata: Record<string, Scalar>;
  point: number | null;
}

export interface Job {
  status: Status;
  progress?: number | null;
  message?: string | null;
}

export type FindingStatus = "bad" | "warn" | "ok" | "not computed";

export interface Finding {
  key: string;
  name: string;
  value: number | null;
  shown: string;
  status: FindingStatus;
  meaning: string;
  threshold: string;
  source: string;
  advice: string;
  details: Record<string, unknown>;
  examples: { ids: (string | number)[]; note: string; texts: string[] }[];
}

export interface HealthReport {
  name: string;
  rows: number;
  dim: number;
  examined: number;
  sample: number;
  seed: number | null;
  status: FindingStatus;
  findings: Finding[];
  statements: string[];
  series: Record<string, Record<string, number[]>>;
}

export type Interval = [mean: number, low: number, high: number];

export interface PriceRow {
  name: string;
  setting: Record<string, Scalar>;
  label: string;
  rescoring: boolean | string | null;
  bytes: number;
  kept_bytes: number;
  recall_1: Interval;
  recall_10: Interval;
  ndcg_10: Interval;
  build_seconds: number;
  queries_per_second: number;
  pareto: boolean;
}

export interface PriceList {
  documents: number;
  queries: number;
  dim: number;
  full_bytes: number;
  metric: string;
  date: string;
  seed: number | null;
  statements?: string[];
  rows: PriceRow[];
  chosen?: { label: string; confirmed?: { recall_10: Interval; queries: number } | null } | null;
}

export interface Cluster {
  number: number;
  label: string;
  words: string[];
  count: number;
  x: number;
  y: number;
}

export interface MapInfo {
  count: number;
  method: string;
  clusters: Cluster[];
  x: [number, number];
  y: [number, number];
}

export interface MapPoint {
  index: number;
  id: string;
  title: string | null;
  snippet: string;
  cluster: number | null;
}

export interface SystemRow {
  slug: string;
  title: string;
  full_title: string;
  year: number;
  place: string;
  status: string;
  verdict: string | null;
  score?: number | null;
}

export interface Verdict {
  id: string;
  statement: string;
  criterion: string;
  verdict: string;
  measured: string;
}

export interface SystemReport {
  scale: string;
  seeds: number[];
  verdicts: Verdict[];
  data: Record<string, string>;
  machine: Record<string, unknown>;
  notes: string[];
  date: string;
  wall_seconds: number;
  verdict?: string;
}

export interface SystemDetail extends SystemRow {
  venue: string;
  source: string;
  room: string;
  keywords: string[];
  description: string;
  claims: string[];
  api: string[];
  report: SystemReport | null;
  plot: string | null;
  python: string | string[] | null;
  command: string;
}
