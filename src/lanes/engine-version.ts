/** The version of the engine follows from what a host's state consists of: nobody has to raise it. */
import { hash } from 'node:crypto';
import { SHAPES, type Shapes, stateText } from '../host/state/shapes.ts';

export const engineOf = (shapes: Shapes): string => hash('sha256', stateText(shapes), 'hex').slice(0, 16);

export const ENGINE = engineOf(SHAPES);
