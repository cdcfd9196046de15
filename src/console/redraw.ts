/** The page is drawn from what is known; whoever learns something says so, and it is drawn once before the next frame. */
let draw = (): void => {};
let isAsked = false;

export function drawWith(drawing: () => void): void {
  draw = drawing;
  // What is pressed does what is known by now, not what was drawn: typing and pressing may be sooner than a frame.
  addEventListener('click', drawNow, { capture: true });
}

export function redraw(): void {
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(drawNow);
}

function drawNow(): void {
  if (!isAsked) return;
  isAsked = false;
  draw();
}
