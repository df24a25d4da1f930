// What a view shows of the server: loads, loads again when its key changes, polls while the server computes.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiProblem, session } from "./api";
import type { Job } from "./types";

export interface Remote<T> {
  data: T | null;
  problem: ApiProblem | null;
  loading: boolean;
  reload: () => void;
}

const RETRY_MS = 4000;

export function useSession(): number {
  const [, redraw] = useState(0);
  useEffect(() => session.subscribe(() => redraw((n) => n + 1)), []);
  return session.version;
}

// `key` says what is asked for; null asks for nothing. The last answer stays while the next one is under way.
export function useRemote<T>(
  key: string | null,
  load: (signal: AbortSignal) => Promise<T>,
  pollAfter?: (data: T, polls: number) => number | null,
): Remote<T> {
  const version = useSession();
  const [state, setState] = useState<{ data: T | null; problem: ApiProblem | null; loading: boolean }>({
    data: null,
    problem: null,
    loading: key !== null,
  });
  const [attempt, setAttempt] = useState(0);
  const reload = useCallback(() => setAttempt((n) => n + 1), []);
  const latest = useRef({ load, pollAfter });
  latest.current = { load, pollAfter };

  useEffect(() => {
    if (key === null) {
      setState({ data: null, problem: null, loading: false });
      return;
    }
    const abort = new AbortController();
    let timer = 0;
    let polls = 0;
    const run = async () => {
      try {
        const data = await latest.current.load(abort.signal);
        if (abort.signal.aborted) return;
        setState({ data, problem: null, loading: false });
        const wait = latest.current.pollAfter?.(data, polls++) ?? null;
        if (wait !== null) timer = window.setTimeout(run, wait);
      } catch (error) {
        if (abort.signal.aborted) return;
        const problem = error instanceof ApiProblem ? error : new ApiProblem("internal", String(error));
        setState((old) => ({ data: problem.code === "offline" ? old.data : null, problem, loading: false }));
        if (problem.code === "offline") timer = window.setTimeout(run, RETRY_MS);
      }
    };
    setState((old) => ({ ...old, loading: true }));
    void run();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [key, version, attempt]);

  return { ...state, reload };
}

export function useJob<T extends Job>(key: string | null, load: (signal: AbortSignal) => Promise<T>): Remote<T> {
  return useRemote(key, load, (data, polls) => (data.status === "computing" ? Math.min(500 + 250 * polls, 3000) : null));
}
