/** The pages at / and /docs in a browser: usable by all, light and dark, on a wide screen and a narrow one. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { type Service, startService, temporaryDirectory } from '../support/service.ts';
import { check, noBrowser, openPage, SCHEMES } from './browser.ts';
