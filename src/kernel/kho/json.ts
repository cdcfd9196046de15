/** What a handover holds: JSON, which whoever reads it has to look at before using it. */
export type Json = null | boolean | number | string | readonly Json[] | JsonRecord;
export type JsonRecord = { readonly [name: string]: Json };

export const isRecord = (json: Json | undefined): json is JsonRecord =>
  typeof json === 'object' && json !== null && !Array.isArray(json);

export const isList = (json: Json | undefined): json is readonly Json[] => Array.isArray(json);

/** Whether it is an integer from 0 on that a number holds exactly. */
export const isCount = (json: Json | undefined): json is number => Number.isSafeInteger(json) && (json as number) >= 0;

/** Whether it is a number of up to 64 bits in hexadecimal: `0x` and digits. */
export const isHex64 = (json: Json | undefined): json is string =>
  typeof json === 'string' && /^0x[0-9a-f]{1,16}$/.test(json);
