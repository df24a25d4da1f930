// One way to the server: JSON in and out, the token when there is one, every failure as an ApiProblem of one line.

const TOKEN_KEY = "polyvec-token";

export class ApiProblem extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 0,
  ) {
    super(message);
  }
}

let token = "";
try {
  token = sessionStorage.getItem(TOKEN_KEY) ?? "";
} catch {
  // Without storage the token lives as long as the page.
}

type Listener = () => void;
const listeners = new Set<Listener>();

// Which answers belong to which token: whoever shows something loads it anew when this number grows.
export const session = {
  version: 0,
  refused: false,
  hadToken: () => token !== "",
  subscribe(listener: Listener): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  setToken(given: string): void {
    token = given.trim();
    try {
      sessionStorage.setItem(TOKEN_KEY, token);
    } catch {
      // See above.
    }
    session.refused = false;
    session.version += 1;
    listeners.forEach((listener) => listener());
  },
};

export type Params = Record<string, string | number | undefined>;

function address(path: string, params: Params): string {
  const filled = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== "") filled.set(name, String(value));
  }
  const text = filled.toString();
  return `./${path}${text ? `?${text}` : ""}`;
}

async function request(path: string, params: Params, signal?: AbortSignal, method = "GET"): Promise<Response> {
  const headers: Record<string, string> = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  const sent = token;
  let response: Response;
  try {
    response = await fetch(address(path, params), { method, headers, signal: signal ?? null, credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiProblem("offline", "The server does not answer. Is polyvec serve still running?");
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (response.status === 401 && sent === token) {
    session.refused = true;
    listeners.forEach((listener) => listener());
  }
  throw problem;
}

async function problemOf(response: Response): Promise<ApiProblem> {
  try {
    const { error } = (await response.json()) as { error: { code: string; message: string } };
    return new ApiProblem(error.code, error.message, response.status);
  } catch {
    return new ApiProblem("internal", `The server answered with status ${response.status}.`, response.status);
  }
}

export async function get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  return (await request(path, params, signal)).json() as Promise<T>;
}

export async function getBytes(path: string, signal?: AbortSignal): Promise<ArrayBuffer> {
  return (await request(path, {}, signal)).arrayBuffer();
}

export async function getBlob(path: string, signal?: AbortSignal): Promise<Blob> {
  return (await request(path, {}, signal)).blob();
}

export async function post<T>(path: string): Promise<T> {
  return (await request(path, {}, undefined, "POST")).json() as Promise<T>;
}
