/** Tenants' keys. They are random, so a plain SHA-256 protects them; the key itself is never stored. */
import { hash, randomBytes } from 'node:crypto';

/** SHA-256 of a key in hexadecimal: what is stored and what is looked up. */
export function hashKey(key: string): string {
  return hash('sha256', key, 'hex');
}

/** A new key of 256 random bits. */
export function newKey(): string {
  return `hk_${randomBytes(32).toString('base64url')}`;
}
