/** Not of the language, but in every place where it runs, and pure. */
declare function structuredClone<T>(value: T): T;
