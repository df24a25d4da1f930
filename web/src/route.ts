// Where the user is: all of it stands in the address, so that a link or the back button leads to the same view.

import { useEffect, useState } from "preact/hooks";

export const TABS = ["search", "map", "health", "prices", "systems"] as const;
export type Tab = (typeof TABS)[number];

export interface Route {
  tab: Tab;
  slug: string; // of an open system
  q: string;
  like: string; // id of the document that others should resemble
  mode: string;
  where: string;
  values: Record<string, string[]>; // checked values of a column, as JSON texts
  ranges: Record<string, [low: string, high: string]>;
  doc: string;
  cluster: string;
  systems: string; // query of the systems tab
  budget: string;
}

const PLAIN = ["q", "like", "mode", "where", "doc", "cluster", "systems", "budget"] as const;

export const EMPTY: Route = {
  tab: "search", slug: "", q: "", like: "", mode: "", where: "", values: {}, ranges: {}, doc: "", cluster: "",
  systems: "", budget: "",
};

export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [name = "", slug = ""] = path.split("/");
  const tab = TABS.find((known) => known === name) ?? "search";
  const route: Route = { ...EMPTY, tab, slug: tab === "systems" ? decoded(slug) : "", values: {}, ranges: {} };
  for (const [key, value] of new URLSearchParams(query)) {
    const plain = PLAIN.find((known) => known === key);
    if (plain) route[plain] = value;
    else if (key.startsWith("is.")) (route.values[key.slice(3)] ??= []).push(value);
    else if (key.startsWith("range.")) {
      const [low = "", high = ""] = value.split("..");
      route.ranges[key.slice(6)] = [low, high];
    }
  }
  return route;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function formatRoute(route: Route): string {
  const params = new URLSearchParams();
  for (const key of PLAIN) if (route[key]) params.set(key, route[key]);
  for (const [column, values] of Object.entries(route.values)) values.forEach((value) => params.append(`is.${column}`, value));
  for (const [column, [low, high]] of Object.entries(route.ranges)) if (low || high) params.set(`range.${column}`, `${low}..${high}`);
  const query = params.toString();
  return `#/${route.tab}${route.slug ? `/${encodeURIComponent(route.slug)}` : ""}${query ? `?${query}` : ""}`;
}

const CHANGED = "polyvec-route";

export function navigate(change: Partial<Route>, options: { replace?: boolean } = {}): void {
  const target = formatRoute({ ...parseRoute(location.hash), ...change });
  if (target === location.hash) return;
  history[options.replace ? "replaceState" : "pushState"](null, "", target);
  window.dispatchEvent(new Event(CHANGED));
}

export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const update = () => setHash(location.hash);
    for (const name of ["hashchange", "popstate", CHANGED]) window.addEventListener(name, update);
    return () => {
      for (const name of ["hashchange", "popstate", CHANGED]) window.removeEventListener(name, update);
    };
  }, []);
  return parseRoute(hash);
}
