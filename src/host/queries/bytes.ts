/** Numbers of frames as bytes, in hexadecimal. */
import { hex } from '../../machine/address.ts';
import { FRAME_SIZE } from '../../machine/memory.ts';

export const bytes = (frames: number): string => hex(frames * FRAME_SIZE);
