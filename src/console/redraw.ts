/** The page is drawn from what is known; whoever learns something says so, and it is drawn once before the next frame. */
let draw = (): void => {};
let isAsked = false;

export function drawWith(drawing: () => void): void {
  draw = drawing;
}

export function redraw(): void {
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    draw();
  });
}
