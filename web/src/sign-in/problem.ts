/** What went wrong on the way to a company's sign-in and back, by the code that the gateway puts into the address. */
const SENTENCES: Record<string, string> = {
  "auth.company_refused": "This company account does not sign in here. Ask an administrator; the audit log says why.",
  "auth.company_expired": "This sign-in took too long, or began in another browser. Begin again.",
  "auth.company_unavailable":
    "The company's sign-in does not answer. Try again in a minute; other ways to sign in still work.",
  "auth.limited": "Too many sign-ins are on their way from here. Wait a few minutes.",
  "auth.ended": "You were signed out meanwhile. Sign in, then link the account again.",
  conflict: "Somebody else signs in with that account, or you have as many as you may.",
};

/** Takes the code out of the address, so that it is not shown again on the way back here, and gives its sentence. */
export function takeProblem(): string | null {
  const code = new URLSearchParams(location.hash.slice(1)).get("problem");
  if (!code) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return SENTENCES[code] ?? "The company's sign-in did not work. Begin again.";
}
