/** Frames as the bytes that they are. */
import { hex } from '../../machine/address.ts';
import { FRAME_SIZE } from '../../machine/memory.ts';

export const bytes = (frames: number): string => hex(frames * FRAME_SIZE);
