import { ApiError } from "../api/client";

/** The question for a second factor that is open, if one is. */
class Proof {
  asked = $state.raw<{ answer: (shown: boolean) => void } | null>(null);

  /** Asks for a second factor; tells whether it was shown. */
  ask(): Promise<boolean> {
    this.asked?.answer(false);
    return new Promise((resolve) => {
      this.asked = {
        answer: (shown) => {
          this.asked = null;
          resolve(shown);
        },
      };
    });
  }
}

export const proof = new Proof();

/** Does something that may want a second factor: asks for it, then does it once more. */
export async function withProof<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const wanted = error instanceof ApiError && error.code === "access.second_factor";
    if (!wanted || !(await proof.ask())) throw error;
    return work();
  }
}
