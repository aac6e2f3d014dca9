import createClient from "openapi-fetch";
import type { paths } from "../generated/openapi";
import type { BadParameter, Problem } from "./types";

/** The gateway's API, on the console's own origin, with the session cookie. */
export const api = createClient<paths>({
  credentials: "same-origin",
  headers: { "Content-Type": "application/json" },
});

/** A refusal of the gateway, or the lack of an answer (`offline`), as one error. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  /** The parameters of a template that are not as it wants them. */
  readonly parameters: BadParameter[];

  constructor(status: number, code: string, detail: string, parameters: BadParameter[] = []) {
    super(detail);
    this.status = status;
    this.code = code;
    this.parameters = parameters;
  }

  get offline(): boolean {
    return this.status === 0;
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Awaits a call and returns its body, or throws an `ApiError`. */
export async function take<T>(call: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await call;
  } catch {
    throw new ApiError(0, "offline", "The gateway doesn't answer. Trying again by itself.");
  }
  if (answer.response.ok) return answer.data as T;
  const problem = asProblem(answer.error);
  const error = new ApiError(
    answer.response.status,
    problem.code ?? `http.${answer.response.status}`,
    problem.detail ?? problem.title ?? "The gateway refused this and gave no reason.",
    problem.parameters ?? [],
  );
  if (error.status === 401) onSignedOut();
  throw error;
}

let onSignedOut: () => void = () => {};

/** Sets what happens when the gateway says that nobody is signed in. */
export function whenSignedOut(action: () => void): void {
  onSignedOut = action;
}

function asProblem(error: unknown): Partial<Problem> {
  return typeof error === "object" && error !== null ? (error as Partial<Problem>) : {};
}
