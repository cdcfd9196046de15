/** Many may be inside, or one who wants to be alone. */
export class Gate {
  #inside = 0;
  #shut = false;
  #open = false;
  #waiting: (() => void)[] = [];

  /** Calls the guard of the end of the visit. */
  async enter(): Promise<() => void> {
    while (this.#shut && !this.#open) await this.#changed();
    this.#inside += 1;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#inside -= 1;
      this.#wake();
    };
  }

  /** Lets nobody in from now on, and resolves when nobody is inside. */
  async shut(): Promise<void> {
    this.#shut = true;
    while (this.#inside > 0) await this.#changed();
  }

  reopen(): void {
    this.#shut = false;
    this.#wake();
  }

  /** Nobody has to wait any more, for anything. */
  end(): void {
    this.#open = true;
    this.#wake();
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
