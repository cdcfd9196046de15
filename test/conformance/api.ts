/** The public HTTP API as the replayer uses it. */
import type { Json, JsonObject } from './trace.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface ApiAnswer {
  status: number;
  body: JsonObject;
}

export interface Api {
  request(method: Method, path: string, body?: Json): Promise<ApiAnswer>;
}

/** The service refused what the replayer asked for, or the replayer does not know how to ask. */
export class ReplayError extends Error {
  override readonly name = 'ReplayError';
}

/** The body of an answer that has to be a success. */
export async function ask(api: Api, method: Method, path: string, body?: Json): Promise<JsonObject> {
  const answer = await api.request(method, path, body);
  if (answer.status < 300) return answer.body;
  throw new ReplayError(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
}
