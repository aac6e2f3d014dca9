import { createSubscriber } from "svelte/reactivity";

/** The time to the second, for what lasts half a minute. It ticks while something on the page reads it. */
class Seconds {
  #follow = createSubscriber((tick) => {
    const timer = setInterval(tick, 1000);
    return () => clearInterval(timer);
  });

  get now(): number {
    this.#follow();
    return Date.now();
  }

  /** The whole seconds until then; none once it is over. */
  until(at: string): number {
    return Math.max(0, Math.ceil((Date.parse(at) - this.now) / 1000));
  }
}

export const seconds = new Seconds();
