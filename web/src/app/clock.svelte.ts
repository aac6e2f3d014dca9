const TICK_MS = 10_000;

/** One clock for all relative times. */
class Clock {
  now = $state(Date.now());

  constructor() {
    setInterval(() => {
      this.now = Date.now();
    }, TICK_MS);
  }
}

export const clock = new Clock();
