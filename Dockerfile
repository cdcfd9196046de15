# The service with what it needs to run, as the user `node` (uid 1000). Its state is in the volume /data, and nothing else
# is written: the root may be read-only, and the uid another one if /data is writable for it.
FROM node:26-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# No install scripts: better-sqlite3 brings its binaries, but npm would compile it. The optional packages are Node itself.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund
# What does not run here: C sources and binaries of other systems, declarations of types, source maps.
RUN cd node_modules \
 && rm -r better-sqlite3/deps better-sqlite3/src \
 && find better-sqlite3/prebuilds -type f ! -name "linux-$(node -p process.arch).node" -delete \
 && find . -type f \( -name '*.ts' -o -name '*.[cm]ts' -o -name '*.map' \) -delete

# The program in few files of JavaScript, as the npm package has it.
FROM node:26-slim AS packed
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY scripts/pack.ts ./scripts/pack.ts
COPY src ./src
RUN node scripts/pack.ts

FROM node:26-slim
LABEL org.opencontainers.image.title="Holdover" \
      org.opencontainers.image.description="Simulated Linux hosts whose IOMMU state survives a live update, as an HTTP/JSON service" \
      org.opencontainers.image.licenses="Apache-2.0"
# MALLOC_…: what src/entry/main.cjs else begins anew for.
ENV NODE_ENV=production \
    NODE_COMPILE_CACHE=/app/cache \
    HOLDOVER_HOST=0.0.0.0 \
    HOLDOVER_PORT=8080 \
    HOLDOVER_DATA_DIR=/data \
    MALLOC_MMAP_THRESHOLD_=131072 \
    MALLOC_TRIM_THRESHOLD_=2097152 \
    MALLOC_TOP_PAD_=262144
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY --from=packed /app/dist ./dist
COPY package.json LICENSE README.md ./
COPY migrations ./migrations
COPY openapi ./openapi
# Browsers get these files, without their types.
COPY src/console ./src/console
COPY src/timeline ./src/timeline
RUN install --directory --owner=node --group=node /data cache
USER node
# Each container would compile the program again: a start takes a third longer. So it has begun here, and ended in order.
RUN export HOLDOVER_HOST=127.0.0.1 HOLDOVER_DATA_DIR=/tmp/first; \
    node dist/main.cjs --dev & \
    until node dist/holdover.js hosts create --preset vmm-lab; do kill -0 $! && sleep 0.2 || exit 1; done; \
    kill $! && wait $! && rm -r /tmp/first
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.HOLDOVER_PORT + '/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "dist/main.cjs"]
