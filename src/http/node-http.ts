/**
 * Node's `http`, whose `import` reads each of its exports: among these are a fetch and a WebSocket that load all of undici, in a
 * tenth of the time that the service takes to start.
 */
export const { createServer, STATUS_CODES } = process.getBuiltinModule('node:http');
