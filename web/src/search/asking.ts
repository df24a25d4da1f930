// Asking the index for pages of hits.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiProblem, get } from "../api";
import { useRemote, type Remote } from "../remote";
import type { Route } from "../route";
import type { Hit, Info, SearchAnswer } from "../types";
import { composeWhere } from "../where";
import { modeOf } from "./box";

export interface Asked extends Remote<SearchAnswer> {
  hits: Hit[];
  asked: boolean;
  exhausted: boolean;
  more: () => void;
  moreProblem: ApiProblem | null;
  loadingMore: boolean;
}

export function useHits(route: Route, info: Info, k: number, fresh = ""): Asked {
  const mode = modeOf(route, info);
  const where = composeWhere(route, info.columns);
  const asked = route.like !== "" || route.q !== "";
  const key = asked ? JSON.stringify([route.like, route.like ? "" : route.q, mode, where, k, fresh]) : null;
  const page = useCallback(
    (offset: number, signal?: AbortSignal) =>
      route.like
        ? get<SearchAnswer>("api/similar", { id: route.like, k, offset, where }, signal)
        : get<SearchAnswer>("api/search", { q: route.q, mode, k, offset, where }, signal),
    [key],
  );
  const first = useRemote(key, (signal) => page(0, signal));
  const [rest, setRest] = useState<{ hits: Hit[]; done: boolean; loading: boolean; problem: ApiProblem | null }>(NOTHING);
  const current = useRef(first.data);
  current.current = first.data;
  useEffect(() => setRest(NOTHING), [first.data]);

  const hits = first.data ? [...first.data.hits, ...rest.hits] : [];
  const more = async () => {
    const asking = first.data;
    setRest((old) => ({ ...old, loading: true, problem: null }));
    try {
      const answer = await page(hits.length);
      if (current.current !== asking) return;
      setRest((old) => ({ hits: [...old.hits, ...answer.hits], done: answer.hits.length < k, loading: false, problem: null }));
    } catch (error) {
      if (current.current !== asking) return;
      const problem = error instanceof ApiProblem ? error : new ApiProblem("internal", String(error));
      setRest((old) => ({ ...old, loading: false, problem }));
    }
  };
  return {
    ...first,
    hits,
    asked,
    exhausted: rest.done || (first.data?.hits.length ?? 0) < k,
    more: () => void more(),
    moreProblem: rest.problem,
    loadingMore: rest.loading,
  };
}

const NOTHING = { hits: [], done: false, loading: false, problem: null };
