// What the price list says about a budget.

import type { PriceRow } from "../types";

export type Counted = "bytes" | "kept_bytes"; // read by a search, or kept for a document in all

// What a setting is called: how the vectors are scanned, and what the best of them are then compared with.
export function nameOf(row: PriceRow): string {
  if (!row.rescoring) return row.label;
  return `${row.label}, then ${typeof row.rescoring === "string" ? row.rescoring : "full vectors"}`;
}

// The settings that no other beats: walking up the bytes, each that raises the mean recall@10.
export function frontOf(rows: PriceRow[], counted: Counted): PriceRow[] {
  const sorted = [...rows].sort((a, b) => a[counted] - b[counted] || b.recall_10[0] - a.recall_10[0] || a.kept_bytes - b.kept_bytes);
  const front: PriceRow[] = [];
  for (const row of sorted) if (!front.length || row.recall_10[0] > front.at(-1)!.recall_10[0]) front.push(row);
  return front;
}

// The highest mean recall@10 within the budget; of equal ones the smaller, then the faster.
export function bestWithin(rows: PriceRow[], budget: number, counted: Counted): PriceRow | null {
  const within = rows.filter((row) => row[counted] <= budget * (1 + 1e-9));
  within.sort((a, b) => b.recall_10[0] - a.recall_10[0] || a[counted] - b[counted] || a.kept_bytes - b.kept_bytes || b.queries_per_second - a.queries_per_second);
  return within[0] ?? null;
}

// Settings whose interval reaches that of the best: more queries would be needed to tell them apart.
export function notTold(rows: PriceRow[], best: PriceRow, budget: number, counted: Counted): number {
  return rows.filter((row) => row !== best && row[counted] <= budget && row.recall_10[2] >= best.recall_10[1]).length;
}
