// The checked filters as a condition: names in double quotes, texts in single ones, quotes inside them doubled.

import type { Route } from "./route";
import type { Kind, Scalar } from "./types";

export function quotedName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function literal(value: Scalar): string {
  if (value === null) return "NULL";
  if (typeof value === "string") return `'${value.replaceAll("'", "''")}'`;
  return String(value);
}

function oneOf(column: string, texts: string[]): string | null {
  const values = texts.flatMap((text) => {
    try {
      return [JSON.parse(text) as Scalar];
    } catch {
      return []; // an address that somebody edited
    }
  });
  const present = values.filter((value) => value !== null);
  const name = quotedName(column);
  const parts: string[] = [];
  if (present.length === 1) parts.push(`${name} = ${literal(present[0]!)}`);
  if (present.length > 1) parts.push(`${name} IN (${present.map(literal).join(", ")})`);
  if (present.length < values.length) parts.push(`${name} IS NULL`);
  return parts.length > 1 ? `(${parts.join(" OR ")})` : (parts[0] ?? null);
}

function between(column: string, [low, high]: [string, string]): string[] {
  const name = quotedName(column);
  const bounds: [string, string][] = [[">=", low], ["<=", high]];
  return bounds
    .filter(([, text]) => text.trim() !== "" && Number.isFinite(Number(text)))
    .map(([sign, text]) => `${name} ${sign} ${Number(text)}`);
}

export function composeWhere(route: Route, columns: Record<string, Kind>): string {
  const parts: string[] = [];
  for (const [column, texts] of Object.entries(route.values)) {
    const condition = column in columns ? oneOf(column, texts) : null;
    if (condition) parts.push(condition);
  }
  for (const [column, range] of Object.entries(route.ranges)) if (column in columns) parts.push(...between(column, range));
  const raw = route.where.trim();
  if (raw) parts.push(parts.length ? `(${raw})` : raw);
  return parts.join(" AND ");
}

export function filterCount(route: Route): number {
  const checked = Object.values(route.values).reduce((sum, values) => sum + values.length, 0);
  const ranges = Object.values(route.ranges).filter(([low, high]) => low || high).length;
  return checked + ranges + (route.where.trim() ? 1 : 0);
}
