import { api, take } from "../api/client";
import type { SignInState } from "../api/types";

/** Signs in with a name and a password; the answer may want a second factor. */
export function withPassword(name: string, password: string): Promise<SignInState> {
  return take(api.POST("/api/v1/sign-in/password", { body: { name, password } }));
}

/** Goes on with a sign-in that wants a second factor. */
export function withCode(step: string, code: string): Promise<SignInState> {
  return take(api.POST("/api/v1/sign-in/second-factor", { body: { step, code } }));
}
