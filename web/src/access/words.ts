import type { Grant } from "../api/types";

/** The machines of a grant: absent means all of them. */
export function where(grant: Pick<Grant, "machines">): string {
  return grant.machines?.length ? grant.machines.join(", ") : "all machines";
}
