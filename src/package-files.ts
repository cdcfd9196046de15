/** Where files of the package lie that are read at run time: beside `src`, and beside `dist`, which is one folder as `src` is. */
export const packageFile = (path: string): URL => new URL(`../${path}`, import.meta.url);
